"""Numbers that do not depend on how many cores there are."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

__all__ = ["one_thread"]


def one_thread() -> AbstractContextManager[Any]:
    """Numerical libraries on one thread: sums over several come out in another order, and differ in their last bits.

    Our models and tables are small, too: on a shared machine one thread is the faster.
    """
    import numpy  # noqa: F401 (the library whose threads are limited has to be loaded first)
    from threadpoolctl import threadpool_limits

    limited: AbstractContextManager[Any] = threadpool_limits(limits=1)
    return limited
