"""Numbers as a reader sees them: significant digits, intervals, counts. Nothing depends on the machine's locale."""

from __future__ import annotations

import math

from steelyard.audit.types import Estimate

__all__ = [
    "count",
    "estimate_text",
    "figure_text",
    "fixed",
    "interval",
    "is_count",
    "limit",
    "number",
    "p_value",
    "percent",
]

_MINUS = "−"  # U+2212: typeset as wide as a plus, and no spreadsheet takes it for the start of a formula


def number(value: float, digits: int = 3) -> str:
    """`value` with at least `digits` decimals below 1000, or `digits` significant digits where it is tiny.

    0.17249 is "0.172", 12.3456 is "12.346", 0.000123 is "0.000123", 1e-9 is "1.00e-9", infinity is "∞".
    """
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else f"{_MINUS}∞"
    magnitude = abs(value)
    sign = _MINUS if value < 0 else ""
    if magnitude == 0:
        return f"{0:.{digits}f}"
    if magnitude >= 1e7 or magnitude < 1e-6:
        mantissa, exponent = f"{magnitude:.{digits - 1}e}".split("e")
        power = int(exponent)
        return f"{sign}{mantissa}e{_MINUS if power < 0 else ''}{abs(power)}"
    if magnitude >= 1000:
        return f"{sign}{magnitude:,.1f}"
    decimals = digits
    if magnitude < 10 ** (-digits + 1):  # keep `digits` - 1 significant digits of a small number
        decimals = digits - 2 - math.floor(math.log10(magnitude))
    text = f"{magnitude:.{decimals}f}"
    return text if float(text) == 0 else f"{sign}{text}"


def fixed(value: float, decimals: int) -> str:
    """`value` with just so many decimals, as on an axis: 0.2 with one is "0.2"."""
    text = f"{abs(value):,.{decimals}f}"
    return f"{_MINUS}{text}" if value < 0 and float(text.replace(",", "")) != 0 else text


def limit(value: float) -> str:
    """A stated tolerance, as short as it was stated: 0.8 is "0.8", 1.0 is "1"."""
    text = f"{abs(value):.12g}"
    return f"{_MINUS}{text}" if value < 0 else text


def percent(value: float) -> str:
    """A proportion in per cent with one decimal: 0.05 is "5 %", 0.125 is "12.5 %"."""
    return f"{value * 100:.1f}".removesuffix(".0") + " %"


def count(n: float) -> str:
    """A count with a comma at the thousands: 45222 is "45,222"; an effective n keeps one decimal."""
    return f"{int(n):,}" if float(n).is_integer() else f"{n:,.1f}"


def interval(low: float, high: float) -> str:
    """The two limits: "[0.160, 0.185]"."""
    return f"[{number(low)}, {number(high)}]"


def is_count(estimate: Estimate) -> bool:
    """Is it a whole number of rows or people, read off and not estimated? Its reason for no interval then says so."""
    return estimate.low is None and estimate.no_interval.startswith("a count of") and float(estimate.value).is_integer()


def figure_text(value: float, *, counted: bool) -> str:
    """A value as a count, "1,204", or as a number, "0.172"."""
    return count(value) if counted else number(value)


def estimate_text(estimate: Estimate) -> str:
    """The value with its interval: "0.172 [0.160, 0.185]"; without one, "0.172 (no interval)"; a count as it is."""
    if is_count(estimate):
        return count(estimate.value)
    if estimate.low is None or estimate.high is None:
        return f"{number(estimate.value)} (no interval)"
    return f"{number(estimate.value)} {interval(estimate.low, estimate.high)}"


def p_value(p: float | None) -> str:
    """A p-value: "0.013", "< 0.001"; an absent one is a dash."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
