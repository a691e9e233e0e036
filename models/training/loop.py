"""The one training loop: any network, any objective, on Hugging Face Accelerate."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from steelyard.models.networks.determinism import seeded, torch_threads
from steelyard.models.training.batches import Batch, Rows
from steelyard.models.training.checkpoint import interruptible
from steelyard.models.training.curves import Curves
from steelyard.models.training.hooks import Backward, Hooks
from steelyard.models.training.objective import Objective, cross_entropy
from steelyard.models.training.settings import Settings
from steelyard.models.training.watch import Watch, current_folder, current_journal, current_watch
from steelyard.models.training.work import Training

__all__ = ["Backward", "Batch", "Curves", "Hooks", "Objective", "Rows", "Settings", "cross_entropy", "train_network"]


def train_network(
    module: nn.Module,
    rows: Rows,
    settings: Settings,
    *,
    seed: int,
    objective: Objective = cross_entropy,
    folder: Path | None = None,
    watch: Watch | None = None,
    hooks: Hooks | None = None,
    validate: Objective | None = None,
) -> Curves:
    """Train `module` in place on `rows` and return its curves; it ends on the CPU, in eval mode, with the best weights.

    The same seed gives the same weights (bit for bit on a CPU). With a `folder` the training leaves a checkpoint there
    when it is interrupted, and every half minute; the same call takes it up again and ends as if nothing had been.
    `validate` is the loss on held-back rows (with `settings.patience`), by default the objective.
    Raises TargetError where the loss is NaN before one epoch is done, and where not even one row fits the memory.
    """
    with torch_threads(settings.threads), seeded(seed, "training"), interruptible() as flag:
        training = Training(
            module,
            rows,
            settings,
            seed,
            objective,
            validate or objective,
            hooks or Hooks(),
            watch or current_watch(),
            flag,
        )
        return training.run(folder or current_folder(), folder or current_journal())
