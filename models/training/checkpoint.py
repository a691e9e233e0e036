"""A training on disk, to be taken up where it stopped: one safetensors file, whole or not there at all.

The file is named by a digest of all that the training depends on, so that another training never takes it up.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from steelyard.audit.canonical import digest

__all__ = ["Checkpoint", "Interruption", "interruptible", "packed", "training_key", "unpacked"]


def training_key(plain: Any, tensors: Mapping[str, Tensor | None]) -> str:
    """A digest of plain values and of tensors: the same one means the same training."""
    state = hashlib.sha256(digest(plain).encode())
    for name, tensor in tensors.items():
        state.update(name.encode())
        if tensor is not None:
            array = tensor.detach().cpu().contiguous()
            state.update(f"{array.dtype}{tuple(array.shape)}".encode())
            state.update(array.view(-1).view(torch.uint8).numpy().tobytes() if array.numel() else b"")
    return state.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where one training is kept: `<folder>/<key>.safetensors`."""

    folder: Path
    key: str

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / f"{self.key[:32]}.safetensors"

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The tensors and the plain state; None where there is no file, or none that is whole."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="pt") as file:
                plain = json.loads((file.metadata() or {})["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        except (OSError, SafetensorError, KeyError, ValueError):
            return None
        return (tensors, plain) if plain.get("key") == self.key else None

    def keep(self, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> str:
        """Write it; where the disk does not take it, the training goes on, and this says why. Empty where it did."""
        try:
            self.write(tensors, plain)
        except OSError as error:
            return f"no checkpoint could be kept: {error.strerror or error}"
        return ""

    def write(self, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
        """Replace what is there, as a whole. Raises OSError where that cannot be."""
        from safetensors.torch import save

        data = save(
            {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()},
            metadata={"state": json.dumps({**plain, "key": self.key})},
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=self.folder, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
            os.replace(temporary, self.path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise


def packed(module: nn.Module, good: Mapping[str, Tensor] | None, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The weights, the good ones to go back to, and the optimizer's state, each under a name."""
    tensors = {f"weights/{name}": value for name, value in module.state_dict().items()}
    tensors |= {f"good/{name}": value for name, value in (good or {}).items()}
    for place, values in optimizer.state_dict()["state"].items():
        kept = {name: torch.as_tensor(value) for name, value in values.items() if value is not None}
        tensors |= {f"optimizer/{place}/{name}": value for name, value in kept.items()}
    return tensors


def unpacked(
    tensors: Mapping[str, Tensor], module: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Tensor] | None:
    """Put back what `packed` took, and return the good weights, where there were any."""
    parts: dict[str, dict[str, Tensor]] = {"weights": {}, "good": {}, "optimizer": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = value
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in parts["optimizer"].items():
        place, _, rest = name.partition("/")
        states.setdefault(int(place), {})[rest] = value
    module.load_state_dict(parts["weights"])
    optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
    return parts["good"] or None


class Interruption:
    """Whether Ctrl-C was pressed since. A second one is not waited for."""

    asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signal."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Ctrl-C only sets a flag, so that a step is never cut in two. Outside the main thread nothing is changed."""
    flag = Interruption()
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield flag
        return
    signal.signal(signal.SIGINT, flag)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
