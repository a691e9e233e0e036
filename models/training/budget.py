"""What a private training may spend, what it has spent, and what is refused before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from torch import nn

from steelyard.audit.errors import TargetError
from steelyard.models.training.batches import Rows

__all__ = ["Budget", "Spent", "check_private", "least_noise", "spent_epsilon"]


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

    def __str__(self) -> str:
        return (
            f"(ε, δ) = ({self.epsilon:.2f}, {self.delta:g}) by Rényi accounting of {self.steps:,} steps at the sampling"
            f" rate {self.rate:.4f} with the noise multiplier {self.noise:.2f}, for one row more or less"
        )


def check_private(module: nn.Module, rows: Rows, budget: Budget) -> None:
    """Raise TargetError for what cannot be trained privately: the budget, the rows' weights, or the network."""
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


def least_noise(budget: Budget, rate: float, steps: int, n: int) -> float:
    """The least noise multiplier σ that keeps `steps` at the sampling `rate` within the budget.

    Raises TargetError where none does.
    """
    try:
        return _searched(budget.epsilon, budget.delta, rate, steps)
    except ValueError as error:
        raise TargetError(
            f"ε = {budget.epsilon:g} at δ = {budget.delta:g} cannot be reached in {steps} steps over {n:,} rows",
            where="private",
            hint="a larger epsilon, or fewer epochs",
        ) from error


@cache
def _searched(epsilon: float, delta: float, rate: float, steps: int) -> float:
    """σ by bisection, which takes seconds; the same training on other seeds asks for it again."""
    from opacus.accountants.utils import get_noise_multiplier

    found = get_noise_multiplier(
        target_epsilon=epsilon, target_delta=delta, sample_rate=rate, steps=steps, accountant="rdp"
    )
    return float(found)


@cache
def spent_epsilon(history: tuple[tuple[float, float, int], ...], delta: float) -> float:
    """ε at δ by Rényi accounting of a `history` of (σ, rate of sampling, steps)."""
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = list(history)
    return float(accountant.get_epsilon(delta=delta))
