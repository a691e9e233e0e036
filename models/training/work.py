"""One training at work: steps, epochs, what is kept and what is told."""

from __future__ import annotations

import math
import resource
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from steelyard.audit.errors import TargetError
from steelyard.models.networks.determinism import draw_seed, reseed
from steelyard.models.training.batches import Batch, Rows
from steelyard.models.training.checkpoint import Checkpoint, Interruption, packed, training_key, unpacked
from steelyard.models.training.curves import Curves
from steelyard.models.training.device import new_accelerator, new_optimizer
from steelyard.models.training.hooks import Backward, Hooks
from steelyard.models.training.journal import Journal
from steelyard.models.training.objective import Objective
from steelyard.models.training.schedule import rate_factor
from steelyard.models.training.settings import Settings
from steelyard.models.training.state import State, identity
from steelyard.models.training.watch import Advance, Watch

__all__ = ["Training"]

_CHECKPOINT_EVERY = 30.0  # seconds


class Training:
    """One training at work."""

    def __init__(
        self,
        module: nn.Module,
        rows: Rows,
        settings: Settings,
        seed: int,
        objective: Objective,
        validate: Objective,
        hooks: Hooks,
        watch: Watch | None,
        flag: Interruption,
    ) -> None:
        self.rows: Rows
        self.held: Rows | None
        self.plain, self.settings, self.seed = module, settings, seed
        self.objective, self.validate, self.hooks, self.watch, self.flag = objective, validate, hooks, watch, flag
        rows = rows.balanced() if settings.balance else rows
        self.rows, self.held = rows, None
        if settings.patience:
            self.rows, self.held = rows.split(settings.validation, seed)
        if settings.dropout is not None:
            for part in module.modules():
                if isinstance(part, nn.Dropout):
                    part.p = settings.dropout
        self.accelerator = new_accelerator(settings)
        self.optimizer = new_optimizer(module, settings)
        self.model = self.accelerator.prepare_model(module)
        self.processes = self.accelerator.num_processes
        # Accelerate's own optimizer looks for packages on disk at every step, which takes as long as a small network's
        self.stepper = self.optimizer if self.processes == 1 else self.accelerator.prepare_optimizer(self.optimizer)
        self.state = State(batch=settings.batch)
        self.chunk = settings.batch * settings.accumulate * self.processes
        self.steps = math.ceil(len(self.rows) / self.chunk)
        self.good: dict[str, Tensor] | None = None  # the weights to go back to
        self.stream = draw_seed(seed, "steps")
        self.started = time.process_time()
        self.saved = time.monotonic()
        self.whole = True  # no step is half done

    def run(self, folder: Path | None, journal: Path | None) -> Curves:
        """All epochs, or those that a checkpoint leaves."""
        self.checkpoint = None if folder is None else Checkpoint(folder=folder, key=self._key())
        self._take_up()
        resumed = self.state.epoch
        main = self.accelerator.is_main_process
        self.journal = Journal(journal if main else None, self.settings.track if main else "")
        self.journal.begin(resumed)
        self.model.train()
        try:
            while self.state.epoch < self.settings.epochs and not self.state.stopped:
                self._epoch()
        except KeyboardInterrupt:
            if self.whole:
                self._keep()
            raise
        finally:
            self.journal.close()
            self._unwrap()
        if self.good is not None and self.state.best != self.state.epoch:
            self.plain.load_state_dict(self.good)
        self._keep()
        return self._curves(resumed)

    def _epoch(self) -> None:
        state = self.state
        order = self.rows.order(self.seed, state.epoch)
        while state.step < self.steps:
            chunk = order[state.step * self.chunk : (state.step + 1) * self.chunk]
            at = state.epoch * self.steps + state.step
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate(at)
            self.whole = False
            loss, weight = self._step(chunk, at)
            if not math.isfinite(loss):
                self._give_up(f"the loss became {loss}")
                return
            state.step += 1
            state.total += loss * weight
            state.weight += weight
            self.whole = True
            self._tell()
        rate = self._rate((state.epoch + 1) * self.steps - 1)
        state.epochs.append({"loss": state.total / state.weight, "rate": rate})
        state.step, state.total, state.weight = 0, 0.0, 0.0
        state.epoch += 1
        self._judge()

    def _rate(self, at: int) -> float:
        total, settings = self.steps * self.settings.epochs, self.settings
        return settings.lr * rate_factor(at, total, warmup=settings.warmup, schedule=settings.schedule)

    def _step(self, chunk: Tensor, at: int) -> tuple[float, float]:
        """One optimizer step over the rows `chunk`: its mean loss and the sum of the rows' weights.

        Where the device's memory does not hold a batch, the batch halves for good; the step stays the same.
        """
        mine = chunk[self.accelerator.process_index :: self.processes]
        mine = mine if len(mine) else chunk[:1]
        while True:
            reseed((self.stream + at) % 2**63)
            try:
                loss, weight = self._backward(mine)
                break
            except torch.OutOfMemoryError as error:
                self._halve(error)
        self._regularise()
        self.stepper.step()
        self.stepper.zero_grad()
        if self.hooks.after_step is not None:
            self.hooks.after_step(self.model)
        return (loss, weight) if self.processes == 1 else self._agree(loss, weight)

    def _agree(self, loss: float, weight: float) -> tuple[float, float]:
        """The loss over the rows of all processes. All of them stop where one has to: else the others would wait."""
        mine = torch.tensor([loss * weight, weight, float(self.flag.asked)], device=self.accelerator.device)
        total, whole, asked = self.accelerator.reduce(mine, reduction="sum").tolist()
        self.flag.asked = asked > 0
        return total / whole, whole

    def _backward(self, mine: Tensor) -> tuple[float, float]:
        whole = 1.0 if self.rows.weights is None else float(self.rows.weights[mine].sum())
        loss = 0.0
        parts = mine.split(self.state.batch)
        for place, part in enumerate(parts):
            batch = self.rows.batch(part, self.accelerator.device, self.settings.label_smoothing)
            if self.settings.augment is not None:
                batch = replace(batch, inputs=self.settings.augment(batch.inputs))
            share = len(part) / len(mine) if self.rows.weights is None else float(batch.weights.sum()) / whole

            def backward(value: Tensor, share: float = share) -> None:
                self.accelerator.backward(value * share)

            if place < len(parts) - 1:
                with self.accelerator.no_sync(self.model):
                    loss += float(self._one(batch, backward)) * share
            else:
                loss += float(self._one(batch, backward)) * share
        return loss, float(len(mine)) if self.rows.weights is None else whole

    def _one(self, batch: Batch, backward: Backward) -> Tensor:
        if self.hooks.step is not None:
            return self.hooks.step(self.model, batch, self.objective, backward).detach()
        loss = self.objective(self.model, batch)
        backward(loss)
        return loss.detach()

    def _halve(self, error: Exception) -> None:
        self.stepper.zero_grad()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if self.state.batch == 1:
            hint = "choose a smaller network or shorter inputs, or device: cpu"
            raise TargetError("the device's memory does not hold one row", where="training", hint=hint) from error
        before, self.state.batch = self.state.batch, self.state.batch // 2
        self.state.notes.append(
            f"out of memory with {before} rows at once: {self.state.batch} from then on, with as many to a step"
        )

    def _regularise(self) -> None:
        if self.settings.l1:
            for parameter in self.plain.parameters():
                if parameter.grad is not None and parameter.ndim > 1:
                    parameter.grad.add_(torch.sign(parameter.detach()), alpha=self.settings.l1)
        if self.settings.clip:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.clip)

    def _tell(self) -> None:
        state = self.state
        if self.watch is not None and self.accelerator.is_main_process:
            self.watch(
                Advance(
                    epoch=state.epoch + 1,
                    epochs=self.settings.epochs,
                    step=state.step,
                    steps=self.steps,
                    loss=state.total / state.weight,
                )
            )
        if self.flag.asked:
            raise KeyboardInterrupt
        if self.checkpoint is not None and time.monotonic() - self.saved > _CHECKPOINT_EVERY:
            self._keep()

    def _judge(self) -> None:
        """After an epoch: are the weights numbers, are they the best so far, is it time to stop?"""
        state = self.state
        if not all(bool(torch.isfinite(p).all()) for p in self.plain.parameters()):
            state.epoch -= 1
            state.epochs.pop()
            self._give_up("a weight is no longer a number")
            return
        if self.hooks.after_epoch is not None:
            said = self.hooks.after_epoch(self.model, state.epoch)
            self.model.train()
            if isinstance(said, str):
                state.notes.append(said)
                state.stopped = True
            elif said:
                state.epochs[-1].update(said)
        if self.held is None:
            self._remember()
        else:
            self._compare(self._held_loss(self.held))
        self.journal.epoch(state.epoch, state.epochs[-1])

    def _compare(self, loss: float) -> None:
        """Keep the weights with the least loss on held-back rows; stop when it has not fallen for long enough."""
        state = self.state
        state.epochs[-1]["validation-loss"] = loss
        if loss < state.best_loss:
            state.best_loss, state.waited = loss, 0
            self._remember()
            return
        state.waited += 1
        if state.waited >= self.settings.patience and state.epoch < self.settings.epochs:
            state.stopped = True
            state.notes.append(f"stopped after epoch {state.epoch}: no better loss since epoch {state.best}")

    def _remember(self) -> None:
        self.state.best = self.state.epoch
        self.good = {name: value.detach().clone() for name, value in self.plain.state_dict().items()}

    def _held_loss(self, held: Rows) -> float:
        self.model.eval()
        total = weight = 0.0
        for part in torch.arange(len(held)).split(max(self.settings.batch, 256)):
            batch = held.batch(part, self.accelerator.device)
            with torch.no_grad():
                own = float(batch.weights.sum())
                total += float(self.validate(self.model, batch)) * own
            weight += own
        self.model.train()
        return total / weight if math.isfinite(total) else math.inf

    def _give_up(self, why: str) -> None:
        """Back to the last good weights. Raises TargetError where there are none."""
        state = self.state
        hint = "a smaller lr, warmup or clip may help"
        if self.good is None:
            raise TargetError(f"{why} in the first epoch; nothing was learnt", where="training", hint=hint)
        state.notes.append(f"{why} in epoch {state.epoch + 1}: the weights of epoch {state.best} are kept; {hint}")
        self.plain.load_state_dict(self.good)
        state.stopped, state.best = True, state.epoch if self.held is None else state.best
        state.step, state.total, state.weight = 0, 0.0, 0.0

    def _key(self) -> str:
        how = [self.objective, self.validate, self.hooks.step, self.hooks.after_step, self.hooks.after_epoch]
        rows = {name: getattr(self.rows, name) for name in ("inputs", "labels", "weights", "groups")}
        return training_key(
            identity(self.settings, [self.seed, self.processes], how), {**rows, **self.plain.state_dict()}
        )

    def _keep(self) -> None:
        """Write the checkpoint; a disk that is full costs only that."""
        if self.checkpoint is None or not self.accelerator.is_main_process:
            return
        self.saved = time.monotonic()
        tensors = packed(self.plain, self.good, self.optimizer)
        plain = asdict(replace(self.state, seconds=self._seconds()))
        if fault := self.checkpoint.keep(tensors, plain):
            self.checkpoint = None
            self.state.notes.append(fault)

    def _take_up(self) -> None:
        found = None if self.checkpoint is None else self.checkpoint.read()
        if found is None:
            return
        tensors, plain = found
        del plain["key"]
        self.state = State(**plain)
        self.good = unpacked(tensors, self.plain, self.optimizer)

    def _unwrap(self) -> None:
        self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        self.plain.eval()
        self.plain.to("cpu")

    def _seconds(self) -> float:
        return self.state.seconds + time.process_time() - self.started

    def _curves(self, resumed: int) -> Curves:
        state = self.state
        cuda = self.accelerator.device.type == "cuda"
        peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return Curves(
            epochs=tuple(state.epochs),
            notes=tuple(state.notes),
            seconds=self._seconds(),
            peak_memory=peak / 2**20,
            device=str(self.accelerator.device),
            precision="bf16" if self.accelerator.mixed_precision == "bf16" else "fp32",
            batch=state.batch,
            best=state.best,
            resumed=resumed,
        )
