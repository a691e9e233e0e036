"""Does the model do what the benchmark takes for granted? One that guesses leans nowhere, and would read as fair."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from steelyard.probes.stats.means import Measured

__all__ = ["guesses"]


def guesses(name: str, measured: Measured, chance: float, lacks: str) -> str | None:
    """Why nothing is said: the measure's lower limit is not above `chance`. None where it is.

    A measure without an interval shows nothing either. `lacks` says what the model then does not show.
    """
    found = measured.estimate
    if found.low is not None and found.low > chance:
        return None
    limits = "without an interval" if found.low is None else f"at least {found.low:.3g}"
    return (
        f"{name} is {found.value:.3g}, {limits}, and chance is {chance:.3g}: the model {lacks}, so that its answers say"
        " nothing of stereotypes"
    )
