"""Training rows changed a little, anew at every step: images mirrored, moved, tinted or noisy, tokens dropped.

All is drawn from torch's global generators, which the training loop seeds at each step. Torch is imported only when
rows are changed, so that a plan's `augment` can be checked without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steelyard.audit.errors import PlanError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["IMAGE_WAYS", "TEXT_WAYS", "Augment", "ImageAugment", "TokenDropout", "read_ways"]

Augment = Callable[["Tensor"], "Tensor"]
IMAGE_WAYS: Mapping[str, float] = {"flip": 0.5, "crop": 2.0, "colour": 0.2, "noise": 0.05}
TEXT_WAYS: Mapping[str, float] = {"tokens": 0.1, "typos": 0.05, "synonyms": 0.1, "translate": 1.0}
_AT_MOST_ONE = {"flip", "colour", "tokens", "typos", "synonyms", "translate"}  # shares and probabilities


def read_ways(spec: str, known: Mapping[str, float], *, where: str) -> dict[str, float]:
    """ "flip, crop=3" as {"flip": 0.5, "crop": 3.0}: names of `known`, with their usual strength where none is given.

    Raises PlanError naming what is not known or not a strength.
    """
    found: dict[str, float] = {}
    for part in (part.strip() for part in spec.split(",") if part.strip()):
        name, _, given = (piece.strip() for piece in part.partition("="))
        if name not in known:
            hint = f"it takes {', '.join(known)}" if known else "it takes none"
            raise PlanError(f"augment {name!r} is not known", where=where, hint=hint)
        try:
            strength = float(given) if given else known[name]
        except ValueError:
            strength = -1.0
        most = 1.0 if name in _AT_MOST_ONE else float("inf")
        if not 0.0 < strength <= most or (name == "crop" and strength != int(strength)):
            allowed = (
                "a whole number of pixels" if name == "crop" else "above 0" + (", at most 1" if most == 1.0 else "")
            )
            raise PlanError(f"augment {name} is {given!r}", where=where, hint=f"it is {allowed}")
        found[name] = strength
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageAugment:
    """Each image (channels, height, width) in [0, 1] on its own draws.

    `flip`: mirrored left to right with this probability. `crop`: moved by up to this many pixels either way, black
    coming in. `colour`: its brightness and its contrast, in each channel, times 1 ± up to this. `noise`: normal, of
    this standard deviation, on every pixel. The result stays in [0, 1].
    """

    flip: float = 0.0
    crop: float = 0.0
    colour: float = 0.0
    noise: float = 0.0

    def __call__(self, images: Tensor) -> Tensor:
        """(n, channels, height, width), the same shape."""
        import torch

        if self.flip:
            mirrored = torch.rand(len(images), device=images.device) < self.flip
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        if self.crop:
            images = _moved(images, int(self.crop))
        if self.colour:
            size = (2, len(images), images.shape[1], 1, 1)
            bright, contrast = 1.0 + self.colour * (2.0 * torch.rand(size, device=images.device) - 1.0)
            mean = images.mean(dim=(2, 3), keepdim=True)
            images = (images - mean) * contrast + mean * bright
        if self.noise:
            images = images + self.noise * torch.randn_like(images)
        return images.clamp(0.0, 1.0)


def _moved(images: Tensor, most: int) -> Tensor:
    """Each image by its own offset of up to `most` pixels in both directions."""
    import torch
    from torch.nn import functional

    n, _, height, width = images.shape
    wide = functional.pad(images, (most, most, most, most))
    down, right = torch.randint(0, 2 * most + 1, (2, n, 1), device=images.device)
    rows = down + torch.arange(height, device=images.device)  # (n, height)
    columns = right + torch.arange(width, device=images.device)  # (n, width)
    row = torch.arange(n, device=images.device)[:, None, None]
    picked = wide[row, :, rows[:, :, None], columns[:, None, :]]  # (n, height, width, channels)
    return picked.permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDropout:
    """Each token but a row's first becomes `unknown` with probability `share`; padding stays."""

    share: float
    pad: int
    unknown: int

    def __call__(self, ids: Tensor) -> Tensor:
        """(n, length), the same shape."""
        import torch

        dropped = (torch.rand(ids.shape, device=ids.device) < self.share) & (ids != self.pad)
        dropped[:, 0] = False
        return ids.masked_fill(dropped, self.unknown)
