"""Random numbers and threads of torch for a while, and the host's own back afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from steelyard.audit.canonical import generator

__all__ = ["RANDOM_NUMBERS", "draw_seed", "reseed", "seeded", "torch_generator", "torch_threads"]

# A process has one stream of torch's random numbers: threads that draw from it take turns.
RANDOM_NUMBERS = threading.RLock()


def draw_seed(seed: int, name: str) -> int:
    """A 63-bit seed for the stream called `name` under the one `seed`; see `audit.canonical.generator`."""
    return int(generator(seed, name).integers(2**63 - 1))


def torch_generator(seed: int, name: str) -> torch.Generator:
    """A generator on the CPU for the stream called `name`."""
    return torch.Generator().manual_seed(draw_seed(seed, name))


@contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Torch's global generators at the stream `name`: for weights, dropout and all that takes no generator."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with RANDOM_NUMBERS, torch.random.fork_rng(devices=devices):
        reseed(draw_seed(seed, name))
        yield


def reseed(value: int) -> None:
    """Torch's global generators at `value`. `torch.manual_seed` costs a millisecond: it walks the stack."""
    torch.default_generator.manual_seed(value)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(value)


@contextmanager
def torch_threads(count: int = 1) -> Iterator[None]:
    """Torch on `count` threads: sums over several come out in another order, and small networks are slower on two."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
