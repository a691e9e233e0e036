"""Training under differential privacy: DP-SGD to a target (ε, δ), on Opacus."""

from __future__ import annotations

import resource
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from steelyard.audit.errors import TargetError
from steelyard.models.networks.determinism import seeded, torch_generator, torch_threads
from steelyard.models.training.batches import Rows
from steelyard.models.training.curves import Curves
from steelyard.models.training.objective import Objective, cross_entropy
from steelyard.models.training.schedule import rate_factor
from steelyard.models.training.settings import Settings
from steelyard.models.training.watch import Advance, Watch, current_watch

__all__ = ["Budget", "Spent", "train_private"]

_AT_ONCE = 128  # rows whose gradients are in memory at once: 128 × 100,000 weights are 51 MB

# What Opacus says that is no fault of a caller's, by the beginning of the message and the reason why it is no news.
_NO_NEWS = (
    "Secure RNG turned off",  # noise from a seed is meant here; the docstring of `train_private` says what it costs
    "Optimal order is the",  # at the end of the grid of Rényi orders: ε is then larger than it could be
    "Full backward hook is firing when gradients",  # the inputs need no gradient; per-row gradients are unaffected
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """(ε, δ) for one row more or less in the training data, and `norm`, to which each row's gradient is clipped."""

    epsilon: float = 8.0
    delta: float = 1e-5
    norm: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was spent by the accountant, the noise multiplier σ, the rate of sampling, and the steps that were taken."""

    epsilon: float
    delta: float
    noise: float
    rate: float
    steps: int


def train_private(
    module: nn.Module,
    rows: Rows,
    settings: Settings,
    budget: Budget,
    *,
    seed: int,
    objective: Objective = cross_entropy,
    watch: Watch | None = None,
) -> tuple[Curves, Spent]:
    """Train `module` in place by DP-SGD; it ends on the CPU, in evaluation mode.

    Each step draws every row with the probability batch / n, clips each drawn row's gradient to `budget.norm`, adds
    Gaussian noise of σ · norm to their sum, and divides by `batch`. Abadi et al. 2016, arXiv:1607.00133; ε by Rényi
    accounting of the subsampled Gaussian (Mironov, Talwar, Zhang 2019, arXiv:1908.10530), and σ is the least that keeps
    it within the budget for all steps. Of the settings, epochs, batch, lr, optimizer, weight_decay, warmup, schedule,
    device and threads count. The noise comes from `seed`, so that the same model comes out twice: who knows the seed
    can take it off, and a model to be published wants a secret one. What was learnt of the rows before training (the
    means and words of `prepare`, the classes) is not covered by ε.
    Raises TargetError for a budget that cannot be reached, a network that has no gradients of single rows (batch
    normalisation), rows with weights, and weights that did not move.
    """
    with torch_threads(settings.threads), seeded(seed, "training"), _quiet():
        return _Private(module, rows, settings, budget, seed, objective, watch or current_watch()).run()


class _Private:
    """One private training at work."""

    def __init__(
        self,
        module: nn.Module,
        rows: Rows,
        settings: Settings,
        budget: Budget,
        seed: int,
        objective: Objective,
        watch: Watch | None,
    ) -> None:
        from opacus.accountants import RDPAccountant

        _check(module, rows, budget)
        self.module, self.rows, self.settings, self.budget = module, rows, settings, budget
        self.seed, self.objective, self.watch = seed, objective, watch
        name = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(name if settings.device == "auto" else settings.device)
        self.rate = min(1.0, settings.batch / len(rows))
        self.per_epoch = max(1, round(1 / self.rate))
        self.noise = _noise(budget, self.rate, self.per_epoch * settings.epochs, len(rows))
        self.accountant = RDPAccountant()

    def run(self) -> tuple[Curves, Spent]:
        from opacus import GradSampleModule
        from opacus.optimizers import DPOptimizer

        started = time.process_time()
        before = [p.detach().cpu().clone() for p in self.module.parameters() if p.requires_grad]
        self.module.to(self.device).train()  # on the device before it is wrapped: the hooks' buffers follow it there
        wrapped = GradSampleModule(self.module)
        optimizer = DPOptimizer(
            _optimizer(wrapped, self.settings),
            noise_multiplier=self.noise,
            max_grad_norm=self.budget.norm,
            expected_batch_size=self.rate * len(self.rows),
            generator=torch.Generator(self.device).manual_seed(torch_generator(self.seed, "noise").initial_seed()),
        )
        optimizer.attach_step_hook(self.accountant.get_optimizer_hook_fn(sample_rate=self.rate))
        draws = torch_generator(self.seed, "draws")
        epochs = [{"loss": self._epoch(wrapped, optimizer, draws, epoch)} for epoch in range(self.settings.epochs)]
        wrapped.remove_hooks()
        for p in self.module.parameters():  # what the wrapper hung on the parameters
            del p.grad_sample
            p.grad = None
        self.module.to("cpu").eval()
        self._check_moved(before)
        spent = self._spent()
        curves = Curves(
            epochs=tuple(epochs),
            notes=(_said(spent),),
            seconds=time.process_time() - started,
            peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            device=str(self.device),
            batch=self.settings.batch,
            best=self.settings.epochs,
        )
        return curves, spent

    def _epoch(self, wrapped: Any, optimizer: Any, draws: torch.Generator, epoch: int) -> float:
        """As many steps as see n rows on average; the mean loss of the rows that were drawn."""
        total, seen = 0.0, 0
        for step in range(self.per_epoch):
            self._set_rate(optimizer, epoch * self.per_epoch + step)
            drawn = (torch.rand(len(self.rows), generator=draws) < self.rate).nonzero()[:, 0]
            total += self._step(wrapped, optimizer, drawn)
            seen += len(drawn)
            if self.watch is not None:
                done = Advance(
                    epoch=epoch + 1,
                    epochs=self.settings.epochs,
                    step=step + 1,
                    steps=self.per_epoch,
                    loss=total / max(seen, 1),
                )
                self.watch(done)
        if not total < float("inf"):  # NaN, too
            raise TargetError(f"the loss became {total} in epoch {epoch + 1}", where="private", hint="a smaller lr")
        return total / max(seen, 1)

    def _step(self, wrapped: Any, optimizer: Any, drawn: Tensor) -> float:
        """One step, its gradients gathered part by part; a draw of no row is a step of noise alone."""
        total = 0.0
        parts = drawn.split(_AT_ONCE) if len(drawn) else (drawn,)
        for place, part in enumerate(parts):
            optimizer.zero_grad()
            if len(part):
                batch = self.rows.batch(part, self.device)
                loss = self.objective(wrapped, batch)
                loss.backward()
                total += float(loss.detach()) * len(part)
            else:
                for p in optimizer.params:
                    p.grad_sample = p.new_zeros((0, *p.shape))
            optimizer.signal_skip_step(do_skip=place < len(parts) - 1)
            optimizer.step()
        optimizer.zero_grad()
        return total

    def _set_rate(self, optimizer: Any, step: int) -> None:
        how, total = self.settings, self.per_epoch * self.settings.epochs
        factor = rate_factor(step, total, warmup=how.warmup, schedule=how.schedule)
        for group in optimizer.param_groups:
            group["lr"] = how.lr * factor

    def _spent(self) -> Spent:
        return Spent(
            epsilon=float(self.accountant.get_epsilon(delta=self.budget.delta)),
            delta=self.budget.delta,
            noise=self.noise,
            rate=self.rate,
            steps=self.per_epoch * self.settings.epochs,
        )

    def _check_moved(self, before: list[Tensor]) -> None:
        after = [p.detach() for p in self.module.parameters() if p.requires_grad]
        if any(torch.equal(a, b) for a, b in zip(before, after, strict=True)):
            raise TargetError("some weights did not move in training", where="private", hint="a larger lr, more epochs")


def _check(module: nn.Module, rows: Rows, budget: Budget) -> None:
    from opacus.validators import ModuleValidator

    if not (budget.epsilon > 0 and 0 < budget.delta < 1 and budget.norm > 0):
        raise TargetError(f"{budget} is not a budget", where="private", hint="all are above 0, delta below 1")
    if budget.delta * len(rows) >= 1:
        raise TargetError(
            f"delta {budget.delta:g} is not below 1 / n of the {len(rows):,} rows: it would allow one to be published",
            where="private",
            hint="a smaller delta",
        )
    if rows.weights is not None:
        raise TargetError("does not count weights of rows: a heavy one would weigh more than ε allows", where="private")
    faults = ModuleValidator.validate(module.train(), strict=False)
    if faults:
        text = " ".join(str(faults[0]).split())[:200]
        raise TargetError(f"the network cannot be trained privately: {text}", where="private")


def _noise(budget: Budget, rate: float, steps: int, n: int) -> float:
    from opacus.accountants.utils import get_noise_multiplier

    try:
        found = get_noise_multiplier(
            target_epsilon=budget.epsilon, target_delta=budget.delta, sample_rate=rate, steps=steps, accountant="rdp"
        )
    except ValueError as error:
        raise TargetError(
            f"ε = {budget.epsilon:g} at δ = {budget.delta:g} cannot be reached in {steps} steps over {n:,} rows",
            where="private",
            hint="a larger epsilon, or fewer epochs",
        ) from error
    return float(found)


def _optimizer(module: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    wanted = [p for p in module.parameters() if p.requires_grad]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(wanted, lr=settings.lr, momentum=0.9, weight_decay=settings.weight_decay)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(wanted, lr=settings.lr, weight_decay=settings.weight_decay)


def _said(spent: Spent) -> str:
    return (
        f"(ε, δ) = ({spent.epsilon:.2f}, {spent.delta:g}) by Rényi accounting of {spent.steps:,} steps at the sampling"
        f" rate {spent.rate:.4f} with the noise multiplier {spent.noise:.2f}, for one row more or less"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        for beginning in _NO_NEWS:
            warnings.filterwarnings("ignore", message=beginning)
        yield
