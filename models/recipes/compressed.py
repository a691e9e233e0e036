"""Compressed references: what is left of a network whose weights are cut to 8 bits, or mostly set to nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from steelyard.audit.errors import PlanError
from steelyard.audit.target import Sample
from steelyard.audit.types import Task
from steelyard.models.networks.architectures import ARCHITECTURES
from steelyard.models.recipes.cnn import CnnRecipe
from steelyard.models.recipes.mlp import MlpRecipe
from steelyard.models.recipes.networks import NetworkRecipe
from steelyard.models.recipes.recipe import Recipe
from steelyard.models.recipes.robust import joined

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from steelyard.models.networks.network import Network
    from steelyard.models.training.loop import Curves, Rows

__all__ = ["COMPRESSED", "CompressedCnn", "CompressedMlp"]

METHODS = ("quantised", "pruned")
_HELD_BACK = 0.1  # of the training rows, to compare before and after
ARCHITECTURES.setdefault("quantised", ("steelyard.models.training.compress", "Quantised"))


@dataclass(frozen=True, kw_only=True)
class _Compressed(NetworkRecipe):
    """The plain network, then made smaller by `method`; a tenth of the rows is held back to compare.

    quantised: int8 weights and, as they come, int8 inputs of each layer (Jacob et al. 2018, arXiv:1712.05877). pruned:
    the `share` of weights that is smallest is set to 0 and stays there through `again` epochs more (Han et al. 2015,
    arXiv:1506.02626). The card says the size before and after, and on which share of the rows held back both decide
    the same, with a 95 % interval (Clopper-Pearson). Neither is faster here: int8 arithmetic is carried out in floats.
    """

    family: ClassVar[str] = "compressed"
    variant: ClassVar[str] = "compressed"
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.MULTICLASS})

    method: str = "quantised"
    share: float = 0.8
    again: int = 2

    def __post_init__(self) -> None:
        """Check the method as well."""
        super().__post_init__()
        if self.method not in METHODS:
            raise PlanError(f"method is {self.method!r}", where=self.id, hint=f"it is one of {', '.join(METHODS)}")
        if not 0 <= self.share < 1:
            raise PlanError(f"share is {self.share!r}", where=self.id, hint="it is from 0 to below 1")

    def fit(self, train: Sample, seed: int) -> Network:
        """The compressed network, with what compression changed in its notes and in the last epoch's curve."""
        from steelyard.models.training.compress import dense_bytes, sparse_bytes

        network, rows = self.start(train, seed)
        kept, held = rows.split(_HELD_BACK, seed)
        curves = self.run(network, kept, train, seed)
        before, plain = _decisions(network, held), dense_bytes(network.module)
        if self.method == "quantised":
            smaller, more, after = _quantised(network), None, dense_bytes
        else:
            smaller, more, after = network, self._prune(network, kept, train, seed), sparse_bytes
        same = before == _decisions(smaller, held)
        figures = _figures(int(same.sum()), len(same), plain, after(smaller.module))
        whole = curves if more is None else joined([curves, more])
        last = {**whole.epochs[-1], **figures}
        curves = replace(whole, epochs=(*whole.epochs[:-1], last), notes=(*whole.notes, self._said(figures, len(same))))
        return replace(smaller, curves=curves)

    def _prune(self, network: Network, rows: Rows, train: Sample, seed: int) -> Curves:
        from steelyard.models.networks.determinism import draw_seed
        from steelyard.models.training.compress import prune
        from steelyard.models.training.loop import Hooks, train_network

        masks = prune(network.module, self.share)

        def keep_out(module: nn.Module) -> None:
            for name, parameter in network.module.named_parameters():
                if name in masks:
                    parameter.data.mul_(masks[name].to(parameter.device))

        return train_network(
            network.module,
            rows,
            replace(self.loop_settings(network), epochs=self.again, patience=0),
            seed=draw_seed(seed, "after pruning") % 2**31,
            objective=self.objective(network),
            hooks=Hooks(after_step=keep_out),
        )

    def _said(self, figures: dict[str, float], n: int) -> str:
        how = "int8 weights" if self.method == "quantised" else f"{self.share:.0%} of the weights set to 0, kept sparse"
        return (
            f"{how}: {figures['bytes-after'] / 1000:,.1f} kB of {figures['bytes-before'] / 1000:,.1f} kB; decides as"
            f" before on {figures['agreement']:.1%} [{figures['agreement-low']:.1%}, {figures['agreement-high']:.1%}]"
            f" of {n:,} rows held back"
        )


def _quantised(network: Network) -> Network:
    from steelyard.models.networks.architectures import build
    from steelyard.models.networks.determinism import seeded
    from steelyard.models.training.compress import quantise

    config = {"of": network.architecture, **network.config}
    with seeded(0, "weights that are replaced"):
        module = build("quantised", **config)
    module.load_state_dict({f"inner.{name}": v for name, v in quantise(network.module).state_dict().items()})
    return replace(network, architecture="quantised", config=config, module=module.eval())


def _decisions(network: Network, rows: Rows) -> NDArray[np.int64]:
    """(n,) class codes of prepared rows."""
    import numpy as np
    import torch

    with torch.inference_mode():
        parts = [network.module(part).argmax(dim=1) for part in rows.inputs.split(512)]
    return np.asarray(torch.cat(parts).numpy(), dtype=np.int64)


def _figures(same: int, n: int, before: int, after: int) -> dict[str, float]:
    from scipy.stats import binomtest

    limits = binomtest(same, n).proportion_ci(0.95, method="exact")
    return {
        "agreement": same / n,
        "agreement-low": float(limits.low),
        "agreement-high": float(limits.high),
        "bytes-before": float(before),
        "bytes-after": float(after),
    }


@dataclass(frozen=True, kw_only=True)
class CompressedMlp(_Compressed, MlpRecipe):
    """The multilayer perceptron, compressed."""

    summary: ClassVar[str] = "a multilayer perceptron, then quantised or pruned"


@dataclass(frozen=True, kw_only=True)
class CompressedCnn(_Compressed, CnnRecipe):
    """The convolutional network of two blocks, compressed."""

    summary: ClassVar[str] = "a convolutional network of two blocks, then quantised or pruned"


COMPRESSED: tuple[Recipe, ...] = (CompressedMlp(), CompressedCnn())
