"""Training under differential privacy: DP-SGD to a target (ε, δ), on Opacus."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from steelyard.models.networks.determinism import seeded, torch_threads
from steelyard.models.training.batches import Rows
from steelyard.models.training.budget import Budget, Spent
from steelyard.models.training.checkpoint import interruptible
from steelyard.models.training.curves import Curves
from steelyard.models.training.objective import Objective, cross_entropy
from steelyard.models.training.private_work import PrivateTraining
from steelyard.models.training.settings import Settings
from steelyard.models.training.watch import Watch, current_folder, current_journal, current_watch

__all__ = ["Budget", "Spent", "train_private"]

# What Opacus says that is no fault of a caller's, by the beginning of the message and the reason why it is no news.
_NO_NEWS = (
    "Secure RNG turned off",  # noise from a seed is meant here; the docstring of `train_private` says what it costs
    "Optimal order is the",  # at the end of the grid of Rényi orders: ε is then larger than it could be
    "Full backward hook is firing when gradients",  # the inputs need no gradient; per-row gradients are unaffected
)


def train_private(
    module: nn.Module,
    rows: Rows,
    settings: Settings,
    budget: Budget,
    *,
    seed: int,
    objective: Objective = cross_entropy,
    folder: Path | None = None,
    watch: Watch | None = None,
) -> tuple[Curves, Spent]:
    """Train `module` in place by DP-SGD; it ends on the CPU, in evaluation mode.

    Each step draws every row with the probability batch / n, clips each drawn row's gradient to `budget.norm`, adds
    Gaussian noise of σ · norm to their sum, and divides by `batch`. Abadi et al. 2016, arXiv:1607.00133; ε by Rényi
    accounting of the subsampled Gaussian (Mironov, Talwar, Zhang 2019, arXiv:1908.10530), and σ is the least that keeps
    it within the budget for all steps. Of the settings, epochs, batch, lr, optimizer, weight_decay, warmup, schedule,
    device and threads count. The noise comes from `seed`, so that the same model comes out twice: who knows the seed
    can take it off, and a model to be published wants a secret one. What was learnt of the rows before training (the
    means and words of `prepare`, the classes) is not covered by ε, nor are the losses in the curves.

    With a `folder` the training leaves a checkpoint there when it is interrupted, and every half minute. The same call
    takes it up and ends bit for bit as if nothing had been (on a CPU): steps that were lost with a process are taken
    again with the same draws and the same noise, so that ε counts each of them once. Who reads the checkpoint can take
    the noise off, as with the seed.
    Raises TargetError for a budget that cannot be reached, a network that has no gradients of single rows (batch
    normalisation), rows with weights, weights that did not move, and weights that are no numbers in the first epoch.
    """
    with torch_threads(settings.threads), seeded(seed, "training"), _quiet(), interruptible() as flag:
        training = PrivateTraining(module, rows, settings, budget, seed, objective, watch or current_watch(), flag)
        return training.run(folder or current_folder(), folder or current_journal())


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        for beginning in _NO_NEWS:
            warnings.filterwarnings("ignore", message=beginning)
        yield
