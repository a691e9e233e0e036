"""Probes that follow from a table of counts find the same in a counted table as in its rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("duckdb", reason="counting needs the extra `big`")

from steelyard.audit.canonical import generator
from steelyard.audit.plan import DataPart, TargetPart
from steelyard.audit.target import Probe, References, Sample
from steelyard.audit.types import Binomial, Capability, Deviation, Failure, Finding, Inapplicable, Normal
from steelyard.audit.units import misfit
from steelyard.models.data.load import load_samples
from steelyard.models.targets.drawn_rows import wants_rows
from steelyard.models.targets.load import load_target
from steelyard.models.targets.memoised import Memoised
from steelyard.probes.fairness.adverse_impact import AdverseImpact
from steelyard.probes.fairness.conditional import Conditional
from steelyard.probes.fairness.inequality import Inequality
from steelyard.probes.fairness.ll144 import LocalLaw144
from steelyard.probes.fairness.missing_attributes import MissingAttributes
from steelyard.probes.fairness.ranking import Ranked
from steelyard.probes.fairness.strata import _quantiles
from steelyard.probes.stats.counted import CountedDesign
from steelyard.probes.stats.linearised import Design, effective_counts


def people(n: int = 3000, seed: int = 8, *, gap: float = 0.1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    sex = rng.choice(["f", "m", None], n, p=[0.48, 0.48, 0.04])
    y = rng.uniform(size=n) < 0.5
    decided = rng.uniform(size=n) < np.where(y, 0.7, 0.3) - gap * (sex == "f")
    return pd.DataFrame(
        {
            "decided": np.where(decided, "hire", "no"),
            "y": np.where(y, "hire", "no"),
            "sex": sex,
            "race": rng.choice(["a", "b", "c", "few"], n, p=[0.5, 0.3, 0.195, 0.005]),
            "age": rng.integers(20, 38, n),
            "w": rng.uniform(1, 3, n),
            "who": rng.integers(0, n // 4, n),
        }
    )


def both(frame: pd.DataFrame, folder: Path, **data: Any) -> list[tuple[Memoised, Sample]]:
    """Target and sample, read by rows and then by counts."""
    frame.to_parquet(folder / "t.parquet")
    part = TargetPart(kind="predictions", path="t.parquet", decision="decided")
    settings = {"label": "y", "positive": "hire", "groups": ["sex", "race", "age"], **data}
    found = []
    for above in (len(frame), 10):
        sample = load_samples(DataPart(**settings, reduce_above=above), target=part, base=folder).test
        found.append((load_target(part, base=folder, sample=sample), sample))
    assert found[1][1].reduced is not None
    return found


def rows_of(probe: Probe, target: Memoised, sample: Sample) -> list[Any]:
    assert not wants_rows(probe, sample)
    return list(probe.run(target, sample, References(), generator(1, "x")))


def kind(row: Any) -> Any:
    return type(row), row.metric if isinstance(row, Finding) else row.metrics, getattr(row, "where", None)


def alike(mine: Any, other: Any) -> None:
    """Values, limits, bases and details agree to rounding; words and counts to the letter."""
    assert type(mine) is type(other)
    if not isinstance(mine, Finding):
        assert mine == other
        return
    assert (mine.metric, mine.where, mine.probe) == (other.metric, other.where, other.probe)
    a, b = mine.estimate, other.estimate
    assert (a.n, a.level, a.method, a.no_interval) == (b.n, b.level, b.method, b.no_interval), mine.metric
    for name in ("value", "low", "high", "n_effective"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None and y is None) or x == pytest.approx(y, rel=1e-7, abs=1e-9), (mine.metric, mine.where, name)
    assert type(mine.basis) is type(other.basis)
    if isinstance(mine.basis, Normal):
        assert mine.basis.se == pytest.approx(other.basis.se, rel=1e-7)
        assert mine.basis.skew == pytest.approx(other.basis.skew, abs=1e-7)
    if isinstance(mine.basis, Binomial):
        assert mine.basis.trials == pytest.approx(other.basis.trials)
    if isinstance(mine.basis, Deviation):
        assert mine.basis.quantiles == pytest.approx(other.basis.quantiles, rel=1e-7, abs=1e-9)
    assert mine.detail.keys() == other.detail.keys()
    for key, value in mine.detail.items():
        assert other.detail[key] == (pytest.approx(value, rel=1e-7, abs=1e-12) if isinstance(value, float) else value)
    assert [e.name for e in mine.evidence] == [e.name for e in other.evidence]


PROBES: list[tuple[Probe, dict[str, Any]]] = [
    (Inequality(draws=200), {"groups": ["sex", "race"]}),
    (MissingAttributes(), {"groups": ["sex", "race"]}),
    (AdverseImpact(draws=200, control="age"), {}),
    (LocalLaw144(draws=200, sex="sex", race="race"), {"groups": ["sex", "race"]}),
    (Conditional(draws=200, controls=("age", "race")), {}),
]


@pytest.mark.parametrize("weight", [None, "w"])
@pytest.mark.parametrize(("probe", "data"), PROBES, ids=lambda x: x.id if isinstance(x, Probe) else "")
def test_counts_give_what_rows_give(probe: Probe, data: dict[str, Any], weight: str | None, tmp_path: Path) -> None:
    rows, counts = both(people(), tmp_path, weight=weight, **data)
    if wants_rows(probe, counts[1]):
        assert weight is not None
        return
    mine, other = rows_of(probe, *rows), rows_of(probe, *counts)
    assert sum(isinstance(row, Finding) for row in mine) >= 4
    assert any(isinstance(row, Failure | Inapplicable) for row in mine)  # the group "few" is below min_n
    # What needs the scores one by one is left out of counts, by name; here there are none.
    assert [kind(row) for row in mine] == [kind(row) for row in other]
    for a, b in zip(mine, other, strict=True):
        alike(a, b)


def test_scores_that_were_counted_are_left_out_by_name(tmp_path: Path) -> None:
    """The rows of decisions are as before; what needs each score says that it was not read."""
    frame = people().assign(p=lambda f: np.where(f["decided"] == "hire", 0.75, 0.25))
    frame.to_parquet(tmp_path / "t.parquet")
    part = TargetPart(kind="predictions", path="t.parquet", decision="decided", score="p")
    data = DataPart(label="y", positive="hire", groups=["sex", "race"], reduce_above=10)
    sample = load_samples(data, target=part, base=tmp_path).test
    target = load_target(part, base=tmp_path, sample=sample)
    found = rows_of(AdverseImpact(draws=200), target, sample)
    (left,) = [row for row in found if isinstance(row, Inapplicable)]
    assert left.metrics == ("fairness.adverse-impact.smd",)
    assert "counted, not read" in left.reason
    assert any(isinstance(row, Finding) and row.metric.endswith(".ratio") for row in found)


@pytest.mark.parametrize("weighted", [False, True])
def test_property_a_design_of_entries_is_that_of_their_rows(weighted: bool) -> None:
    """Averages, variances, skewness and effective counts of repeated values, by entries and written out."""
    rng = np.random.default_rng(3)
    values, times = rng.exponential(1.0, 12), rng.integers(1, 9, 12)
    entry = np.repeat(np.arange(12), times)
    weights = rng.uniform(1, 4, len(entry)) if weighted else None
    w = np.ones(len(entry)) if weights is None else weights
    sums = [np.bincount(entry, w**k) for k in (1, 2, 3)]
    counted = CountedDesign(n=len(entry), rows=times, mass=sums[0], square=sums[1], cube=sums[2], weighted=weighted)
    rows = Design(n=len(entry), weights=weights)
    for part in (np.arange(12), np.array([1, 4, 5, 9])):
        mine, other = counted.take(part), rows.take(np.isin(entry, part))
        x, long = values[part], values[entry][np.isin(entry, part)]
        centre = other.average(long)
        assert (mine.n, mine.units, mine.plain) == (other.n, other.units, other.plain)
        assert mine.kish == pytest.approx(other.kish)
        assert mine.average(x) == pytest.approx(centre)
        assert mine.total(x) == pytest.approx(other.total(long))
        assert mine.variance(x - centre) == pytest.approx(other.variance(long - centre))
        assert mine.skewness(x - centre) == pytest.approx(other.skewness(long - centre))
        hits, each = x > 1, long > 1
        assert effective_counts(hits, mine) == pytest.approx(effective_counts(each, other))


def test_clusters_and_controls_that_were_not_counted_are_read_from_drawn_rows(tmp_path: Path) -> None:
    counts = both(people(), tmp_path, cluster="who")[1][1]
    wanted = {probe.id: wants_rows(probe, counts) for probe, _ in PROBES}
    assert wanted == {
        "fairness.inequality": True,
        "fairness.missing-attributes": True,
        "fairness.adverse-impact": False,
        "fairness.ll144": True,
        "fairness.conditional": True,
    }
    counts = both(people(), tmp_path, groups=["sex"])[1][1]
    assert wants_rows(Conditional(controls=("age",)), counts)
    assert not wants_rows(Conditional(controls=("sex",)), counts)
    assert not wants_rows(AdverseImpact(control="age"), counts)


def test_a_question_about_all_rows_is_not_put_to_some_of_them(tmp_path: Path) -> None:
    """The first hundred of drawn rows are not the first hundred; a table to publish is not of a sample."""
    target, counts = both(people(), tmp_path, groups=["sex", "race"], cluster="who")[1]
    able = replace(target, capabilities=target.capabilities | {Capability.PREDICT_PROBA})
    for probe in (Ranked(), LocalLaw144()):
        assert wants_rows(probe, counts)
        why = misfit(probe, able, counts)
        assert why is not None
        assert "all rows together" in why.reason
        assert why.missing == ("rows",)
    assert misfit(Inequality(), target, counts) is None


def test_a_control_that_was_not_counted_is_a_failure_of_what_needs_it(tmp_path: Path) -> None:
    target, counts = both(people(), tmp_path, groups=["sex"])[1]
    found = rows_of(AdverseImpact(draws=200, control="age"), target, counts)
    failures = [row for row in found if isinstance(row, Failure) and "'age' was not counted" in row.reason]
    assert failures
    assert all({m.rsplit(".", 1)[1] for m in row.metrics} == {"common-odds-ratio", "cmh-p-value"} for row in failures)
    assert any(isinstance(row, Finding) and row.metric.endswith(".ratio") for row in found)


def test_quantiles_of_counted_numbers_are_numpys() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        values, times = rng.normal(size=9).round(1), rng.integers(1, 7, 9)
        q = np.linspace(0, 1, rng.integers(3, 9))
        np.testing.assert_allclose(_quantiles(values, q, times), np.quantile(np.repeat(values, times), q), atol=1e-14)
