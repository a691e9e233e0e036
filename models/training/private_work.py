"""One private training at work: draws, clipped gradients, noise, and what is kept of them."""

from __future__ import annotations

import math
import resource
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from steelyard.audit.errors import TargetError
from steelyard.models.networks.determinism import torch_generator
from steelyard.models.training.batches import Rows
from steelyard.models.training.budget import Budget, Spent, check_private, least_noise, spent_epsilon
from steelyard.models.training.checkpoint import Checkpoint, Interruption, packed, training_key, unpacked
from steelyard.models.training.curves import Curves
from steelyard.models.training.journal import Journal
from steelyard.models.training.objective import Objective
from steelyard.models.training.schedule import rate_factor
from steelyard.models.training.settings import Settings
from steelyard.models.training.state import State, identity
from steelyard.models.training.watch import Advance, Watch

__all__ = ["PrivateTraining"]

_AT_ONCE = 128  # rows whose gradients are in memory at once: 128 × 100,000 weights are 51 MB
_CHECKPOINT_EVERY = 30.0  # seconds
_HINT = "a smaller lr, or a longer warmup, may help"
_SMALLER = "choose a smaller network or shorter inputs, or device: cpu"
_RANDOM = "random/"  # before the names of the generators' states in a checkpoint


class PrivateTraining:
    """One private training at work; its state's `total` and `weight` are the sums of losses and of drawn rows."""

    def __init__(
        self,
        module: nn.Module,
        rows: Rows,
        settings: Settings,
        budget: Budget,
        seed: int,
        objective: Objective,
        watch: Watch | None,
        flag: Interruption,
    ) -> None:
        from opacus.accountants import RDPAccountant

        check_private(module, rows, budget)
        self.module, self.rows, self.settings, self.budget = module, rows, settings, budget
        self.seed, self.objective, self.watch, self.flag = seed, objective, watch, flag
        name = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(name if settings.device == "auto" else settings.device)
        self.rate = min(1.0, settings.batch / len(rows))
        self.per_epoch = max(1, round(1 / self.rate))
        self.noise = least_noise(budget, self.rate, self.per_epoch * settings.epochs, len(rows))
        self.accountant = RDPAccountant()
        self.draws = torch_generator(seed, "draws")
        noise = torch_generator(seed, "noise").initial_seed()
        self.noises = torch.Generator(self.device).manual_seed(noise)
        self.state = State(batch=_AT_ONCE)
        self.good: dict[str, Tensor] | None = None  # the weights after the last whole epoch
        self.started, self.saved = time.process_time(), time.monotonic()
        self.whole = True  # no step is half done

    def run(self, folder: Path | None, journal: Path | None) -> tuple[Curves, Spent]:
        """All epochs, or those that a checkpoint leaves."""
        before = [p.detach().cpu().clone() for p in self.module.parameters() if p.requires_grad]
        self.checkpoint = None if folder is None else Checkpoint(folder=folder, key=self._key())
        self._wrap()
        self._take_up()
        resumed = self.state.epoch
        self.journal = Journal(journal)
        self.journal.begin(resumed)
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
        self._keep()
        self._check_moved(before)
        spent = self._spent()
        return self._curves(spent, resumed), spent

    def _wrap(self) -> None:
        from opacus import GradSampleModule
        from opacus.optimizers import DPOptimizer

        self.module.to(self.device).train()  # on the device before it is wrapped: the hooks' buffers follow it there
        self.wrapped: Any = GradSampleModule(self.module)
        self.optimizer: Any = DPOptimizer(
            _optimizer(self.module, self.settings),
            noise_multiplier=self.noise,
            max_grad_norm=self.budget.norm,
            expected_batch_size=self.rate * len(self.rows),
            generator=self.noises,
        )
        self.optimizer.attach_step_hook(self.accountant.get_optimizer_hook_fn(sample_rate=self.rate))

    def _unwrap(self) -> None:
        """Take off what the wrappers hung on the layers and the parameters."""
        _freed(self.wrapped)
        for p in self.module.parameters():
            p.grad = None
            vars(p).pop("summed_grad", None)
        self.module.to("cpu").eval()

    def _epoch(self) -> None:
        """As many steps as see n rows on average."""
        state = self.state
        while state.step < self.per_epoch:
            self._set_rate(state.epoch * self.per_epoch + state.step)
            self.whole = False
            drawn = (torch.rand(len(self.rows), generator=self.draws) < self.rate).nonzero()[:, 0]
            loss = self._step(drawn)
            # Told by the weights, which ε covers, and not by the loss, which it does not
            if not all(bool(torch.isfinite(p).all()) for p in self.module.parameters()):
                self._give_up(loss / max(len(drawn), 1))
                return
            if not math.isfinite(loss):
                raise TargetError(f"the loss became {loss} in epoch {state.epoch + 1}", where="private", hint=_HINT)
            state.step += 1
            state.total += loss
            state.weight += len(drawn)
            self.whole = True
            self._tell()
        loss = state.total / max(state.weight, 1.0)
        state.epochs.append({"loss": loss, "epsilon": self._spent().epsilon})
        state.step, state.total, state.weight = 0, 0.0, 0.0
        state.epoch += 1
        state.best = state.epoch
        self.good = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
        self.journal.epoch(state.epoch, state.epochs[-1])

    def _step(self, drawn: Tensor) -> float:
        """One step, its gradients gathered part by part: the sum of the losses. A draw of no row is noise alone.

        Where the device's memory does not hold a part, parts halve for good; no row has been counted yet by then.
        """
        total = 0.0
        parts = list(drawn.split(self.state.batch)) if len(drawn) else [drawn]
        while parts:
            self.optimizer.zero_grad()
            try:
                loss = self._gradients(parts[0])
            except torch.OutOfMemoryError as error:
                self._halve(error)
                parts = [half for part in parts for half in part.split(self.state.batch)]
                continue
            total += loss * len(parts.pop(0))
            self.optimizer.signal_skip_step(do_skip=bool(parts))
            try:
                self.optimizer.step()
            except torch.OutOfMemoryError as error:  # half of the sum may be made: to go on could count a row twice
                raise TargetError("the device's memory does not hold a step", where="private", hint=_SMALLER) from error
        self.optimizer.zero_grad()
        return total

    def _gradients(self, part: Tensor) -> float:
        """Leave the gradient of each row in the parameters; the mean loss."""
        if not len(part):
            for p in self.optimizer.params:
                p.grad_sample = p.new_zeros((0, *p.shape))
            return 0.0
        loss = self.objective(self.wrapped, self.rows.batch(part, self.device))
        loss.backward()
        return float(loss.detach())

    def _halve(self, error: Exception) -> None:
        from opacus import GradSampleModule

        self.wrapped = GradSampleModule(_freed(self.wrapped))  # what a pass that broke off had gathered is gone
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        before, self.state.batch = self.state.batch, self.state.batch // 2
        if not self.state.batch:
            raise TargetError("the device's memory does not hold one row", where="private", hint=_SMALLER) from error
        self.state.notes.append(f"out of memory with {before} rows at once: {self.state.batch} from then on")

    def _set_rate(self, step: int) -> None:
        how, total = self.settings, self.per_epoch * self.settings.epochs
        factor = rate_factor(step, total, warmup=how.warmup, schedule=how.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = how.lr * factor

    def _give_up(self, loss: float) -> None:
        """Back to the weights of the last whole epoch. Raises TargetError where there are none."""
        state = self.state
        why = f"the loss became {loss:g} and the weights are no longer numbers"
        if self.good is None:
            raise TargetError(f"{why} in the first epoch; nothing was learnt", where="private", hint=_HINT)
        state.notes.append(f"{why} in epoch {state.epoch + 1}: the weights of epoch {state.best} are kept; {_HINT}")
        self.module.load_state_dict(self.good)
        state.stopped = True

    def _tell(self) -> None:
        state = self.state
        if self.watch is not None:
            self.watch(
                Advance(
                    epoch=state.epoch + 1,
                    epochs=self.settings.epochs,
                    step=state.step,
                    steps=self.per_epoch,
                    loss=state.total / max(state.weight, 1.0),
                )
            )
        if self.flag.asked:
            raise KeyboardInterrupt
        if self.checkpoint is not None and time.monotonic() - self.saved > _CHECKPOINT_EVERY:
            self._keep()

    def _spent(self) -> Spent:
        return Spent(
            epsilon=spent_epsilon(tuple(self.accountant.history), self.budget.delta),
            delta=self.budget.delta,
            noise=self.noise,
            rate=self.rate,
            steps=sum(steps for _, _, steps in self.accountant.history),
        )

    def _check_moved(self, before: list[Tensor]) -> None:
        after = [p.detach() for p in self.module.parameters() if p.requires_grad]
        if any(torch.equal(a, b) for a, b in zip(before, after, strict=True)):
            raise TargetError("some weights did not move in training", where="private", hint="a larger lr, more epochs")

    def _key(self) -> str:
        plain = [*identity(self.settings, [self.seed], [self.objective]), asdict(self.budget), self.device.type]
        rows = {name: getattr(self.rows, name) for name in ("inputs", "labels", "groups")}
        return training_key(["private", self.noise, *plain], {**rows, **self.module.state_dict()})

    def _keep(self) -> None:
        """Write the checkpoint; a disk that is full costs only that."""
        if self.checkpoint is None:
            return
        self.saved = time.monotonic()
        random = {"draws": self.draws.get_state(), "noise": self.noises.get_state(), "cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self.device)
        tensors = packed(self.module, self.good, self.optimizer.original_optimizer)
        tensors |= {f"{_RANDOM}{name}": value for name, value in random.items()}
        plain = asdict(replace(self.state, seconds=self._seconds()))
        if fault := self.checkpoint.keep(tensors, {**plain, "history": self.accountant.history}):
            self.checkpoint = None
            self.state.notes.append(fault)

    def _take_up(self) -> None:
        """Go on from the checkpoint, if there is one whose accountant has counted each step once."""
        found = None if self.checkpoint is None else self.checkpoint.read()
        if found is None:
            return
        tensors, plain = found
        del plain["key"]
        history = [(float(noise), float(rate), int(steps)) for noise, rate, steps in plain.pop("history")]
        state = State(**plain)
        done = state.epoch * self.per_epoch + state.step + state.stopped  # the step that broke was counted, too
        if history != ([(self.noise, self.rate, done)] if done else []):
            return
        random = {name.removeprefix(_RANDOM): tensors.pop(name) for name in list(tensors) if name.startswith(_RANDOM)}
        self.good = unpacked(tensors, self.module, self.optimizer.original_optimizer)
        self.state, self.accountant.history = state, history
        self.draws.set_state(random["draws"])
        self.noises.set_state(random["noise"])
        torch.set_rng_state(random["cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(random["cuda"], self.device)

    def _seconds(self) -> float:
        return self.state.seconds + time.process_time() - self.started

    def _curves(self, spent: Spent, resumed: int) -> Curves:
        state = self.state
        return Curves(
            epochs=tuple(state.epochs),
            notes=(str(spent), *state.notes),
            seconds=self._seconds(),
            peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            device=str(self.device),
            batch=state.batch,
            best=state.best,
            resumed=resumed,
        )


def _freed(wrapped: Any) -> nn.Module:
    """The network without hooks, and without what a pass that broke off left in its layers."""
    module: nn.Module = wrapped.to_standard_module()
    for layer in module.modules():
        for name in ("activations", "max_batch_len"):
            vars(layer).pop(name, None)
    return module


def _optimizer(module: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    wanted = [p for p in module.parameters() if p.requires_grad]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(wanted, lr=settings.lr, momentum=0.9, weight_decay=settings.weight_decay)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(wanted, lr=settings.lr, weight_decay=settings.weight_decay)
