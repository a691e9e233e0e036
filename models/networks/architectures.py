"""Which networks there are: a name and a configuration of plain values rebuild one, without its weights."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import TargetError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ARCHITECTURES", "build"]

_HERE = "steelyard.models.networks"
ARCHITECTURES = {
    "mlp": (f"{_HERE}.dense", "Mlp"),
    "cnn": (f"{_HERE}.convolutional", "Cnn"),
    "cnn-strided": (f"{_HERE}.convolutional", "StridedCnn"),
    "resnet": (f"{_HERE}.convolutional", "ResNet"),
    "encoder": (f"{_HERE}.attention", "Encoder"),
    "causal": (f"{_HERE}.attention", "Causal"),
    "pretrained": (f"{_HERE}.pretrained", "Pretrained"),
    "quantised": ("steelyard.models.training.compress", "Quantised"),
}


def build(architecture: str, **config: Any) -> nn.Module:
    """A network with new weights, drawn from torch's global generator (see `determinism.seeded`).

    `module(inputs)` gives the logits (n, classes); `module.features(inputs)` (n, d) what its last layer, `module.head`,
    sees. Raises TargetError for a name that is not known and for a configuration that does not fit.
    """
    if architecture not in ARCHITECTURES:
        raise TargetError(f"no architecture is called {architecture!r}", hint=f"there are {', '.join(ARCHITECTURES)}")
    module, name = ARCHITECTURES[architecture]
    try:
        built: nn.Module = getattr(import_module(module), name)(**config)
    except (TypeError, ValueError) as error:
        text = " ".join(str(error).split())[:200]
        raise TargetError(f"the configuration does not fit: {text}", where=architecture) from error
    return built
