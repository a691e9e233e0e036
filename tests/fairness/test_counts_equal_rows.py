"""A table that is counted by DuckDB gives the same findings as the same table read row by row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("duckdb", reason="counting needs the extra `big`")

from steelyard.audit.canonical import generator, to_plain
from steelyard.audit.plan import DataPart, TargetPart
from steelyard.audit.target import Probe, References, Sample
from steelyard.audit.types import Failure, Finding
from steelyard.models.data.load import load_samples
from steelyard.models.targets.load import load_target
from steelyard.models.targets.memoised import Memoised
from steelyard.probes.fairness.between_groups import count_table
from steelyard.probes.fairness.error_rates import ErrorRates
from steelyard.probes.fairness.selection_rate import SelectionRate


def people(n: int = 6000, seed: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    score = rng.uniform(size=n)
    frame = pd.DataFrame(
        {
            "score": score,
            "decided": (score > 0.55).astype("int8"),
            "y": np.where(rng.uniform(size=n) < score, "yes", "no"),
            "sex": rng.choice(["f", "m"], n),
            "age": rng.choice([20, 30, 40], n),
            "race": rng.choice(["a", "b", " b", "c", None], n, p=[0.4, 0.3, 0.1, 0.15, 0.05]),
            "w": rng.lognormal(size=n),
            "who": rng.integers(0, n // 5, n),
        }
    )
    frame.loc[rng.uniform(size=n) < 0.02, "y"] = None
    frame.loc[rng.uniform(size=n) < 0.01, "y"] = " "
    return frame


def both(
    frame: pd.DataFrame, folder: Path, *, target: dict[str, Any] | None = None, **data: Any
) -> list[tuple[Memoised, Sample]]:
    """Target and sample, read by rows and then by counts."""
    frame.to_parquet(folder / "t.parquet")
    part = TargetPart(kind="predictions", path="t.parquet", **(target or {"score": "score"}))
    settings = {"label": "y", "positive": "yes", "groups": ["sex", "age", "race"], **data}
    found = []
    for above in (len(frame), len(frame) - 1):
        sample = load_samples(DataPart(**settings, reduce_above=above), target=part, base=folder).test
        found.append((load_target(part, base=folder, sample=sample), sample))
    assert found[0][1].reduced is None
    assert found[1][1].reduced is not None
    return found


def findings(probe: Probe, target: Memoised, sample: Sample) -> list[Finding | Failure]:
    found = list(probe.run(target, sample, References(), generator(1, "x")))
    assert all(isinstance(row, Finding | Failure) for row in found)
    return found  # type: ignore[return-value]


PROBES = [SelectionRate(draws=400), ErrorRates(draws=400)]


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.id)
@pytest.mark.parametrize("cluster", [None, "who"], ids=["independent", "clustered"])
@pytest.mark.parametrize("target", [{"score": "score", "threshold": 0.3}, {"decision": "decided"}], ids=str)
def test_counts_give_the_very_findings(
    probe: Probe, cluster: str | None, target: dict[str, Any], tmp_path: Path
) -> None:
    """Everything is compared: values, intervals, bases, evidence (the digest of the count table), reasons."""
    rows, counts = both(people(), tmp_path, target=target, cluster=cluster)
    assert rows[1].n == counts[1].n < 6000
    mine, other = findings(probe, *rows), findings(probe, *counts)
    assert [to_plain(f) for f in mine] == [to_plain(f) for f in other]
    assert [f.evidence[0].data for f in mine if isinstance(f, Finding)] == [
        f.evidence[0].data for f in other if isinstance(f, Finding)
    ]


@pytest.mark.parametrize("cluster", [None, "who"])
def test_weights_agree_to_rounding(cluster: str | None, tmp_path: Path) -> None:
    rows, counts = both(people(), tmp_path, weight="w", cluster=cluster)
    first, second = count_table(PROBES[0], *rows), count_table(PROBES[0], *counts)
    assert (first.rows == second.rows).all()
    np.testing.assert_allclose(first.counts, second.counts, rtol=1e-13)
    assert first.moment is not None
    assert second.moment is not None
    assert (first.moment.row == second.moment.row).all()
    assert (first.moment.column == second.moment.column).all()
    assert first.moment.units == second.moment.units
    np.testing.assert_allclose(first.moment.value, second.moment.value, rtol=1e-12)
    for a, b in zip(findings(PROBES[0], *rows), findings(PROBES[0], *counts), strict=True):
        assert type(a) is type(b)
        if isinstance(a, Finding) and isinstance(b, Finding):
            assert a.where == b.where
            assert a.estimate.value == pytest.approx(b.estimate.value, abs=1e-12)
            assert a.estimate.low == pytest.approx(b.estimate.low, abs=1e-9)


def test_without_labels(tmp_path: Path) -> None:
    rows, counts = both(people().drop(columns="y"), tmp_path, target={"score": "score"}, label=None, positive=None)
    assert findings(PROBES[0], *rows) == findings(PROBES[0], *counts)


def test_the_order_and_the_number_of_files_do_not_matter(tmp_path: Path) -> None:
    frame = people()
    whole = both(frame, tmp_path, weight="w")[1]
    (tmp_path / "parts").mkdir()
    mixed = frame.sample(frac=1, random_state=1).reset_index(drop=True)
    for i, part in enumerate((mixed[:1000], mixed[1000:1200], mixed[1200:])):
        part.to_parquet(tmp_path / "parts" / f"{i}.parquet")
    target = TargetPart(kind="predictions", path="parts/*.parquet", score="score")
    data = DataPart(label="y", positive="yes", groups=["sex", "age", "race"], weight="w", reduce_above=10)
    sample = load_samples(data, target=target, base=tmp_path).test
    parts = load_target(target, base=tmp_path, sample=sample), sample
    assert findings(PROBES[1], *whole) != []
    assert [f.estimate for f in findings(PROBES[1], *whole) if isinstance(f, Finding)] == [
        f.estimate for f in findings(PROBES[1], *parts) if isinstance(f, Finding)
    ]


def test_a_planted_gap_is_found_and_its_clean_twin_is_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"sex": rng.choice(["f", "m"], 40_000), "y": rng.integers(0, 2, 40_000)})
    frame["fair"] = (rng.uniform(size=40_000) < 0.5).astype(int)
    frame["unfair"] = (rng.uniform(size=40_000) < np.where(frame["sex"] == "f", 0.4, 0.5)).astype(int)
    read = {}
    for column in ("fair", "unfair"):
        _, counts = both(frame, tmp_path, target={"decision": column}, groups=["sex"], positive=1)
        (found,) = [
            f
            for f in findings(SelectionRate(), *counts)
            if f.where == {"attribute": "sex"} and isinstance(f, Finding) and f.metric.endswith(".difference")
        ]
        read[column] = found.estimate
    assert read["unfair"].low is not None
    assert read["unfair"].low > 0.07
    assert read["fair"].high is not None
    assert read["fair"].high < 0.03


def test_reference_groups_reach_a_counted_sample(tmp_path: Path) -> None:
    _, (target, sample) = both(people(), tmp_path)
    groups = {a: replace(g, reference="m") if a == "sex" else g for a, g in sample.groups.items()}
    found = findings(PROBES[0], target, replace(sample, groups=groups))
    (one,) = [
        f for f in found
        if isinstance(f, Finding) and f.metric.endswith("difference-to-reference") and f.where == {"attribute": "sex"}
    ]  # fmt: skip
    assert "m" in str(dict(one.detail))
