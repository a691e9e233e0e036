"""Private references: networks trained under differential privacy, which show what privacy costs on these rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import PlanError
from steelyard.audit.target import Sample
from steelyard.audit.types import Modality, Task
from steelyard.models.recipes.cnn import ImageRecipe
from steelyard.models.recipes.mlp import MlpRecipe
from steelyard.models.recipes.networks import NetworkRecipe
from steelyard.models.recipes.recipe import Recipe

if TYPE_CHECKING:
    from steelyard.models.networks.network import Network
    from steelyard.models.networks.prepare import Prepare
    from steelyard.models.training.loop import Curves, Rows

__all__ = ["PRIVATE", "PrivateCnn", "PrivateLogistic", "PrivateMlp"]

_UNUSED: dict[str, Any] = {
    **dict.fromkeys(("l1", "label_smoothing", "clip"), 0.0),
    **dict.fromkeys(("augment", "track"), ""),
    "accumulate": 1,
    "patience": 0,
    "balance": False,
}


@dataclass(frozen=True, kw_only=True)
class _Private(NetworkRecipe):
    """DP-SGD (Abadi et al. 2016, arXiv:1607.00133) to a target (`epsilon`, `delta`); `norm` clips each row's gradient.

    The ε that the accountant says was spent is in the card. See `models.training.private` for what it covers. Large
    batches and a small norm with a large rate learn most (De et al. 2022, arXiv:2204.13650). An image's pixels are
    shifted to (x - mean) / std by constants, MNIST's, which are not learnt and so cost no privacy. Settings that other
    training alone knows (early stopping, class balance, augmentation …) are refused.
    """

    family: ClassVar[str] = "private"
    variant: ClassVar[str] = "private"
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.MULTICLASS})
    libraries: ClassVar[tuple[str, ...]] = (*NetworkRecipe.libraries, "opacus")
    extra: ClassVar[str] = "private"

    epsilon: float = 8.0
    delta: float = 1e-5
    norm: float = 0.1
    mean: float = 0.13
    std: float = 0.31
    epochs: int = 12
    batch: int = 512
    lr: float = 1.0
    optimizer: str = "sgd"

    def __post_init__(self) -> None:
        """Check the budget, and that nothing is asked for that DP-SGD does not do."""
        super().__post_init__()
        for name, value in _UNUSED.items():
            if getattr(self, name) != value:
                raise PlanError(f"{name} is not for private training", where=self.id, hint="leave it out")
        if not self.std > 0:
            raise PlanError(f"std is {self.std!r}", where=self.id, hint="it is above 0")
        if not (self.epsilon > 0 and 0 < self.delta < 1 and self.norm > 0):
            raise PlanError(
                f"epsilon {self.epsilon}, delta {self.delta}, norm {self.norm}",
                where=self.id,
                hint="all are above 0, and delta is below 1",
            )

    def shift(self, prepare: Any) -> dict[str, float]:
        """What the architecture shifts an image's pixels by; nothing for a table, whose columns are standardised."""
        return {} if hasattr(prepare, "numeric") else {"mean": self.mean, "std": self.std}

    def run(self, network: Network, rows: Rows, train: Sample, seed: int) -> Curves:
        """Train the network in place by DP-SGD; what was spent is in the notes and in each epoch's curve."""
        from steelyard.models.training.private import Budget, train_private

        budget = Budget(epsilon=self.epsilon, delta=self.delta, norm=self.norm)
        settings = replace(self.loop_settings(network), dropout=self.dropout)
        curves, spent = train_private(network.module, rows, settings, budget, seed=seed)
        last = {**curves.epochs[-1], "epsilon": spent.epsilon, "noise": spent.noise}
        return replace(curves, epochs=(*curves.epochs[:-1], last))


@dataclass(frozen=True, kw_only=True)
class PrivateMlp(_Private, MlpRecipe):
    """The multilayer perceptron under differential privacy."""

    summary: ClassVar[str] = "a multilayer perceptron trained under differential privacy"

    def configuration(self, prepare: Any, outputs: int) -> dict[str, Any]:
        """As of the plain one, and the shift."""
        return {**super().configuration(prepare, outputs), **self.shift(prepare)}


@dataclass(frozen=True, kw_only=True)
class PrivateLogistic(_Private, NetworkRecipe):
    """Logistic regression, a network of one layer, under differential privacy."""

    name: ClassVar[str] = "logistic"
    architecture: ClassVar[str] = "mlp"
    modalities: ClassVar[frozenset[Modality]] = MlpRecipe.modalities
    summary: ClassVar[str] = "logistic regression under differential privacy"

    def prepared(self, train: Sample) -> Prepare:
        """As for the multilayer perceptron."""
        return MlpRecipe().prepared(train)

    def configuration(self, prepare: Any, outputs: int) -> dict[str, Any]:
        """No hidden layer."""
        return {"inputs": prepare.size, "classes": outputs, "layers": 0, **self.shift(prepare)}


@dataclass(frozen=True, kw_only=True)
class PrivateCnn(_Private, ImageRecipe):
    """A small network of strided convolutions: fewer weights take up less noise."""

    name: ClassVar[str] = "cnn"
    architecture: ClassVar[str] = "cnn-strided"
    summary: ClassVar[str] = "a strided convolutional network trained under differential privacy"

    epochs: int = 20
    batch: int = 1024
    lr: float = 6e-3
    optimizer: str = "adam"
    schedule: str = "linear"
    norm: float = 1.0
    filters: int = 16
    hidden: int = 32

    def configuration(self, prepare: Any, outputs: int) -> dict[str, Any]:
        """The shape of an image, the filters, the hidden layer and the shift."""
        own = {"filters": self.filters, "hidden": self.hidden, **self.shift(prepare)}
        return {**super().configuration(prepare, outputs), **own}


PRIVATE: tuple[Recipe, ...] = (PrivateMlp(), PrivateLogistic(), PrivateCnn())
