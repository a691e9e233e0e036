"""The multilayer perceptron."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["Mlp"]


class Mlp(nn.Module):
    """`layers` times (linear, ReLU, dropout), then a linear head: the 784-128-10 of the tutorials for MNIST.

    Inputs (n, …) are flattened and shifted to (x − mean) / std, so that an image's own scale stays in [0, 1] outside.
    """

    def __init__(
        self,
        *,
        inputs: int,
        classes: int,
        hidden: int = 128,
        layers: int = 1,
        dropout: float = 0.0,
        mean: float = 0.0,
        std: float = 1.0,
    ) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        steps: list[nn.Module] = []
        for place in range(layers):
            steps += [nn.Linear(inputs if place == 0 else hidden, hidden), nn.ReLU(), nn.Dropout(dropout)]
        self.body = nn.Sequential(*steps)
        self.head = nn.Linear(hidden if layers else inputs, classes)

    def features(self, inputs: Tensor) -> Tensor:
        """(n, hidden) what the head sees."""
        found: Tensor = self.body((inputs.flatten(1) - self.mean) / self.std)
        return found

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, classes) logits."""
        logits: Tensor = self.head(self.features(inputs))
        return logits
