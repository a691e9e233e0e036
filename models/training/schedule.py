"""How the learning rate goes: a warm-up, then constant, a cosine or a line to nothing."""

from __future__ import annotations

import math

__all__ = ["rate_factor"]


def rate_factor(step: int, total: int, *, warmup: float, schedule: str) -> float:
    """What the learning rate is multiplied with in the `step`-th (from 0) of `total` steps; 0 < factor <= 1.

    Over the first `warmup` share it rises in a line; then it stays (constant), or falls to 0 after the last step, by
    (1 + cos πt) / 2 (cosine; Loshchilov, Hutter 2017, arXiv:1608.03983) or 1 − t (linear).
    """
    rising = math.ceil(warmup * total)
    if step < rising:
        return (step + 1) / rising
    t = (step - rising) / max(1, total - rising)
    if schedule == "cosine":
        return max(0.5 * (1.0 + math.cos(math.pi * t)), 1e-9)
    return max(1.0 - t, 1e-9) if schedule == "linear" else 1.0
