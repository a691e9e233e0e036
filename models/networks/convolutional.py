"""Networks for images (n, channels, height, width) in [0, 1]. None has batch statistics, so every row stands alone.

That keeps them fit for per-row gradients (differential privacy), for `vmap` over many models, and for adversarial
training, where statistics of clean and attacked batches differ.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Cnn", "ResNet", "StridedCnn"]


class _Image(nn.Module):
    """What they share: the shift to (x − mean) / std, the body, and the head."""

    body: nn.Module
    head: nn.Linear

    def __init__(self, *, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def features(self, inputs: Tensor) -> Tensor:
        """(n, d) what the head sees."""
        found: Tensor = self.body((inputs - self.mean) / self.std)
        return found

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, classes) logits."""
        logits: Tensor = self.head(self.features(inputs))
        return logits


class Cnn(_Image):
    """Two blocks (3×3 convolution, ReLU, 2×2 max pooling) and a hidden layer: the tutorials' network for MNIST."""

    def __init__(
        self,
        *,
        channels: int,
        height: int,
        width: int,
        classes: int,
        filters: int = 32,
        hidden: int = 128,
        dropout: float = 0.0,
        mean: float = 0.0,
        std: float = 1.0,
    ) -> None:
        super().__init__(mean=mean, std=std)
        if min(height, width) < 4:
            raise ValueError(f"images of {height}×{width} are too small for two poolings; 4×4 is the least")
        self.body = nn.Sequential(
            nn.Conv2d(channels, filters, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(filters, 2 * filters, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(2 * filters * (height // 4) * (width // 4), hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.head = nn.Linear(hidden, classes)


class StridedCnn(_Image):
    """Two 4×4 convolutions of stride 2 and a hidden layer: small and smooth, what adversarial training likes.

    The network for MNIST of Wong, Rice, Kolter 2020, Fast is better than free, arXiv:2001.03994.
    """

    def __init__(
        self,
        *,
        channels: int,
        height: int,
        width: int,
        classes: int,
        filters: int = 16,
        hidden: int = 100,
        dropout: float = 0.0,
        mean: float = 0.0,
        std: float = 1.0,
    ) -> None:
        super().__init__(mean=mean, std=std)
        if min(height, width) < 4:
            raise ValueError(f"images of {height}×{width} are too small for two strides; 4×4 is the least")
        self.body = nn.Sequential(
            nn.Conv2d(channels, filters, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(filters, 2 * filters, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(2 * filters * (height // 4) * (width // 4), hidden),
            nn.ReLU(),
        )
        self.head = nn.Linear(hidden, classes)


class _Residual(nn.Module):
    """x + two 3×3 convolutions of the normalised x (He et al. 2016, arXiv:1603.05027), with group normalisation."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(min(8, before), before)
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(min(8, after), after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.skip = nn.Conv2d(before, after, 1, stride=stride, bias=False) if stride > 1 or before != after else None

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, after, height / stride, width / stride)."""
        ready = functional.relu(self.norm1(inputs))
        through = self.conv2(functional.relu(self.norm2(self.conv1(ready))))
        kept: Tensor = inputs if self.skip is None else self.skip(ready)
        return kept + through


class _Mean(nn.Module):
    """The mean over the image: (n, c, h, w) → (n, c)."""

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.mean(inputs, dim=(2, 3))


class ResNet(_Image):
    """A stem, three stages of residual blocks of `filters`, twice and four times as many channels, and a mean."""

    def __init__(
        self,
        *,
        channels: int,
        height: int,
        width: int,
        classes: int,
        filters: int = 16,
        blocks: int = 1,
        dropout: float = 0.0,
        mean: float = 0.0,
        std: float = 1.0,
    ) -> None:
        super().__init__(mean=mean, std=std)
        if min(height, width) < 4:
            raise ValueError(f"images of {height}×{width} are too small for two strides; 4×4 is the least")
        steps: list[nn.Module] = [nn.Conv2d(channels, filters, 3, padding=1, bias=False)]
        before = filters
        for stage, stride in enumerate((1, 2, 2)):
            after = filters * 2**stage
            for block in range(blocks):
                steps.append(_Residual(before, after, stride if block == 0 else 1))
                before = after
        steps += [nn.GroupNorm(min(8, before), before), nn.ReLU(), _Mean(), nn.Dropout(dropout)]
        self.body = nn.Sequential(*steps)
        self.head = nn.Linear(before, classes)
