"""What was not tested, one entry for each reason: the metrics, places and models that share it are listed under it.

A reason often holds for dozens of figures at once (too few rows of a group, by every rate and every reference). Told
once for each, it hides the others; told once for all, nothing is lost: each figure is named under its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from steelyard.audit.types import Failure, Inapplicable, Scalar
from steelyard.reports.numbers import count
from steelyard.reports.sections import Gap
from steelyard.reports.shareable import Shareable
from steelyard.reports.text import describe_where, guard

__all__ = ["failure_gaps", "inapplicable_gaps"]

_LONG = 240  # letters of a line that is shown as it is; a longer one is counted and folded
Part = tuple[str, str, str]  # metric (or the probe, where all of it failed), where, model


def failure_gaps(shared: Shareable, failures: Iterable[Failure]) -> tuple[Gap, ...]:
    """One gap for each probe and reason, in the order they first came up; `parts` names what failed where and of whom.

    The parts together are exactly the failures given: (metrics) x (places) x (models) where they all failed alike.
    """
    found: dict[tuple[str, str, str], dict[Part, None]] = {}
    for f in _attacks_together(failures):
        reason, hint = guard(shared.text(f.reason, f.where)), guard(shared.text(f.hint, f.where))
        parts = found.setdefault((guard(f.probe), reason, hint), {})
        place = _where_shown(shared, f.where)
        for metric in f.metrics or (f.probe,):
            parts[guard(metric), place, guard(f.target)] = None
    return tuple(_gap(shared, probe, reason, hint, list(parts)) for (probe, reason, hint), parts in found.items())


def inapplicable_gaps(shared: Shareable, rows: Iterable[Inapplicable]) -> tuple[Gap, ...]:
    """One gap for each reason, with the probes that do not fit for it, and the models where they are references."""
    candidate = guard(shared.record.candidate().name)
    found: dict[tuple[str, str], dict[str, dict[str, None]]] = {}
    for row in rows:
        hint = f"missing: {', '.join(guard(m) for m in row.missing)}" if row.missing else ""
        models = found.setdefault((guard(row.reason), hint), {}).setdefault(guard(row.probe), {})
        models[guard(row.target)] = None
    gaps = []
    for (reason, hint), by_probe in found.items():
        together: dict[tuple[str, ...], list[str]] = {}
        for probe, models in by_probe.items():
            together.setdefault(tuple(models), []).append(probe)
        subject = "; ".join(
            ", ".join(probes) + (f" of {', '.join(models)}" if models != (candidate,) else "")
            for models, probes in together.items()
        )
        gaps.append(Gap(kind="Does not apply", subject=subject, reason=reason, hint=hint))
    return tuple(gaps)


def _gap(shared: Shareable, probe: str, reason: str, hint: str, parts: Sequence[Part]) -> Gap:
    lines = _lines(parts, {guard(shared.record.candidate().name)})
    if len(lines) == 1 and len(lines[0]) <= _LONG:
        return Gap(kind=probe, subject=lines[0], reason=reason, hint=hint)
    metrics, places, models = ({part[i] for part in parts} for i in range(3))
    words = [_many(len(metrics), "metric"), f"in {_many(len(places), 'place')}"]
    if models != {guard(shared.record.candidate().name)}:
        words.append(f"of {_many(len(models), 'reference')}")
    return Gap(kind=probe, subject=" ".join(words), reason=reason, hint=hint, parts=lines)


def _many(n: int, word: str) -> str:
    return f"{count(n)} {word}{'s' * (n != 1)}"


def _lines(parts: Iterable[Part], unnamed: set[str]) -> tuple[str, ...]:
    """The parts in few lines, such as "a.x, a.y (sex; race) of baseline/logistic". Models in `unnamed` are not named.

    Merged in turn over models, metrics and places, and only what is otherwise alike: a line stands for all of its
    combinations, and no other.
    """
    by_model: dict[tuple[str, str], list[str]] = {}
    for metric, place, model in parts:
        by_model.setdefault((metric, place), []).append(model)
    by_metric: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (metric, place), models in by_model.items():
        by_metric.setdefault((place, tuple(models)), []).append(metric)
    by_place: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (place, who), metrics in by_metric.items():
        by_place.setdefault((tuple(metrics), who), []).append(place)
    return tuple(
        f"{', '.join(names)} ({'; '.join(places)})" + (f" of {', '.join(who)}" if set(who) != unnamed else "")
        for (names, who), places in by_place.items()
    )


def _attacks_together(failures: Iterable[Failure]) -> list[Failure]:
    """Failures that differ in the attack alone as one that names them all: the reason lies with the data then."""
    together: dict[tuple[Failure, bool], list[str]] = {}
    for failure in failures:
        rest = {key: value for key, value in failure.where.items() if key != "attack"}
        named = "attack" in failure.where
        together.setdefault((replace(failure, where=rest), named), []).append(str(failure.where.get("attack", "")))
    return [
        replace(failure, where={"attack": ", ".join(dict.fromkeys(attacks)), **failure.where}) if named else failure
        for (failure, named), attacks in together.items()
    ]


def _where_shown(shared: Shareable, where: Mapping[str, Scalar]) -> str:
    plain = {k: v for k, v in where.items() if isinstance(v, (str, int, float, bool))}
    if shared.hides(plain):
        return "a group too small to show"
    return describe_where(plain) if plain else "everywhere"
