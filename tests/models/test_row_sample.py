"""Rows drawn from a table that was counted: which they are, that probes get them, and that findings say so."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("duckdb", reason="counting needs the extra `big`")

from steelyard.audit.canonical import generator
from steelyard.audit.errors import DataError
from steelyard.audit.plan import DataPart, TargetPart
from steelyard.audit.target import References, Sample
from steelyard.audit.types import Failure, Finding
from steelyard.audit.units import Unit, misfit, run_unit, run_units
from steelyard.models.data import reduced, row_sample
from steelyard.models.data.load import load_samples
from steelyard.models.data.urls import Files
from steelyard.models.targets.drawn_rows import draw, wants_rows
from steelyard.models.targets.load import load_target
from steelyard.models.targets.memoised import Memoised
from steelyard.probes.fairness.scores import Scores
from steelyard.probes.fairness.selection_rate import SelectionRate
from steelyard.probes.quality.calibration import Calibration
from steelyard.probes.quality.performance import Performance

N = 6000


def scored(n: int = N, *, gap: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(11)
    sex = rng.choice(["f", "m"], n)
    score = np.clip(rng.beta(2, 2, n) - gap * (sex == "f"), 0, 1)
    return pd.DataFrame(
        {
            "place": np.arange(n),
            "score": score,
            "y": rng.choice(["yes", "no", None], n, p=[0.5, 0.48, 0.02]),
            "sex": sex,
            "age": rng.choice([20, 30, 40], n),
            "w": rng.uniform(1, 3, n),
            "who": rng.integers(0, 900, n),
        }
    )


PART = {"kind": "predictions", "score": "score"}


def load(folder: Path, path: str = "t.parquet", *, seed: int = 5, **data: Any) -> tuple[Memoised, Sample]:
    part = TargetPart(path=path, **PART)
    settings = {"label": "y", "positive": "yes", "groups": ["sex", "age"], "reduce_above": 100, **data}
    sample = load_samples(DataPart(**settings), target=part, base=folder, seed=seed).test
    return load_target(part, base=folder, sample=sample), sample


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_sample, "ROWS", 1000)


def test_the_rows_follow_from_the_seed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from the blocks they are read in, the row groups or the number of files; another seed draws others."""
    frame = scored()
    frame.to_parquet(tmp_path / "t.parquet")
    first = load(tmp_path)[1].reduced.sampled()
    assert first.reduced is None
    assert first.n == int(frame["y"].notna().to_numpy()[first.inputs["place"]].sum()) <= 1000
    monkeypatch.setattr(row_sample, "_BLOCK", 97)
    (tmp_path / "parts").mkdir()
    for i, part in enumerate(np.array_split(np.arange(N), 3)):
        frame.iloc[part].to_parquet(tmp_path / "parts" / f"{i}.parquet", row_group_size=333, index=False)
    again = load(tmp_path, "parts/*.parquet")[1].reduced.sampled()
    assert list(first.inputs["place"]) == list(again.inputs["place"])
    assert first.fingerprint == again.fingerprint
    assert list(load(tmp_path, seed=6)[1].reduced.sampled().inputs["place"]) != list(first.inputs["place"])


def test_the_rows_are_those_of_the_table(tmp_path: Path) -> None:
    """Every value stands beside the values of its own row, and the sample is made once."""
    frame = scored()
    frame.to_parquet(tmp_path / "t.parquet")
    sample = load(tmp_path)[1]
    drawn = sample.reduced.sampled()
    mine = frame.iloc[drawn.inputs["place"]]
    assert list(mine["score"]) == list(drawn.inputs["score"])
    assert [drawn.groups["sex"].levels[c] for c in drawn.groups["sex"].codes] == list(mine["sex"])
    assert [drawn.classes[c] for c in drawn.labels] == list(mine["y"])
    assert sample.reduced.sampled() is drawn
    assert f"1,000 of the {N:,} rows" in drawn.notes[-1]


def test_every_row_is_as_likely_as_every_other(tmp_path: Path) -> None:
    """Of 300 rows 60, 500 times: how often each row is drawn is chi-square with its own degrees of freedom."""
    from scipy.stats import chi2

    frame = pd.DataFrame({"place": np.arange(300)})
    frame.to_parquet(tmp_path / "t.parquet")
    files, times = Files(names=(str(tmp_path / "t.parquet"),)), np.zeros(300)
    for seed in range(500):
        places = np.sort(generator(seed, "row-sample").choice(300, size=60, replace=False, shuffle=False))
        times[places] += 1
    drawn = row_sample.rows_at(files, places, total=300, source="t")
    assert list(drawn["place"]) == list(places)
    spread = 500 * 0.2 * 0.8 * 300 / 299  # of a row's count, in sampling without replacement
    statistic = float(((times - 100) ** 2).sum() / spread)
    assert chi2.ppf(0.001, 299) < statistic < chi2.ppf(0.999, 299)


def test_a_csv_gives_the_rows_that_parquet_gives(tmp_path: Path) -> None:
    """Also with words that mean a missing value, numbers that look like text and quotes over two lines."""
    frame = scored().assign(word=np.resize(["a,b", 'say "c"', "two\nlines", "NA", "007"], N))
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "t.csv.gz", index=False)
    first = load(tmp_path)[1].reduced.sampled()
    for path in ("t.csv", "t.csv.gz"):
        other = load(tmp_path, path)[1].reduced.sampled()
        assert list(first.inputs["place"]) == list(other.inputs["place"])
        assert list(first.inputs["score"]) == list(other.inputs["score"])
        assert (first.labels == other.labels).all()
        assert (first.groups["age"].codes == other.groups["age"].codes).all()
        assert set(other.inputs["word"].dropna()) == {"a,b", 'say "c"', "two\nlines", "007"}


def test_a_file_that_has_changed_is_noticed(tmp_path: Path) -> None:
    scored().to_parquet(tmp_path / "t.parquet")
    sample = load(tmp_path)[1]
    scored(N - 1).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="5,999 rows, and 6,000 were counted"):
        sample.reduced.sampled()


def unit(probe: Any, target: Memoised) -> Unit:
    return Unit(probe=probe, target=target, references=References(), key=probe.id)


def test_a_probe_that_needs_rows_is_put_to_them_and_says_so(tmp_path: Path) -> None:
    """Its numbers are those of the drawn rows read whole; those of a probe that reads counts are of all rows."""
    scored().to_parquet(tmp_path / "t.parquet")
    target, sample = load(tmp_path)
    probe = Scores(draws=200)
    assert misfit(probe, target, sample) is None
    done = run_unit(unit(probe, target), sample, 3)
    drawn = sample.reduced.sampled()
    words = f"on a seeded sample of {drawn.n:,} rows of {sample.n:,}"
    assert done.findings
    assert all(f.detail["sampled"] == words and f.not_shown.endswith(words) for f in done.findings)
    assert max(f.estimate.n for f in done.findings) == drawn.n
    (tmp_path / "small").mkdir()
    scored().iloc[drawn.inputs["place"]].to_parquet(tmp_path / "small" / "t.parquet")
    alone, whole = load(tmp_path / "small", reduce_above=2000)
    assert whole.reduced is None
    there = run_unit(unit(probe, alone), whole, 3)
    assert [f.estimate for f in there.findings] == [f.estimate for f in done.findings]
    counted = run_unit(unit(SelectionRate(draws=200), target), sample, 3)
    assert max(f.estimate.n for f in counted.findings) == sample.n
    assert not any("sampled" in f.detail for f in counted.findings)


def test_a_planted_gap_shows_in_the_drawn_rows_and_not_in_the_clean_twin(tmp_path: Path) -> None:
    high = {}
    for gap in (0.0, 0.2):
        scored(gap=gap).to_parquet(tmp_path / "t.parquet")
        target, sample = load(tmp_path)
        found = run_unit(unit(Scores(draws=200), target), sample, 3).findings
        (one,) = [f for f in found if f.metric.endswith("mean-score-difference") and f.where == {"attribute": "sex"}]
        high[gap] = one.estimate
    assert high[0.2].low > 0.1
    assert high[0.0].high < 0.1


def test_what_counts_do_not_keep_is_read_from_rows(tmp_path: Path) -> None:
    """Clusters in quality, weights in calibration: from drawn rows, with the weights and clusters in the intervals."""
    scored().to_parquet(tmp_path / "t.parquet")
    target, sample = load(tmp_path)
    assert not wants_rows(Performance(), sample)
    assert not wants_rows(Calibration(), sample)
    for kind, probe, wanted in (
        ({"cluster": "who"}, Performance(), True), ({"weight": "w"}, Performance(), False),
        ({"weight": "w"}, Calibration(draws=200), True), ({"cluster": "who"}, SelectionRate(draws=200), False),
    ):  # fmt: skip
        target, sample = load(tmp_path, **kind)
        assert wants_rows(probe, sample) is wanted
        done = run_unit(unit(probe, target), sample, 3)
        assert done.findings
        assert all(("sampled" in f.detail) is wanted for f in done.findings)
        assert all(f.estimate.n_effective is not None for f in done.findings)


def test_jobs_change_nothing(tmp_path: Path) -> None:
    scored().to_parquet(tmp_path / "t.parquet")
    probes = (SelectionRate(draws=200), Scores(draws=200), Performance())
    read = []
    for jobs in (1, 2):
        target, sample = load(tmp_path)
        units = [unit(probe, target) for probe in probes]
        done = run_units(units, sample, seed=4, jobs=jobs, done=lambda result: None)
        read.append({result.probe: (result.findings, result.failures) for result in done})
    assert read[0] == read[1]
    assert all(findings for findings, _ in read[0].values())


def test_rows_that_make_no_sample_are_a_failure_and_never_a_pass(tmp_path: Path) -> None:
    frame = scored().assign(y=["yes"] * 3 + ["no"] * (N - 3))
    frame.to_parquet(tmp_path / "t.parquet")
    target, sample = load(tmp_path)
    done = run_unit(unit(Scores(), target), sample, 3)
    assert done.findings == ()
    (failure,) = done.failures
    assert isinstance(failure, Failure)
    assert not failure.metrics  # the probe as a whole
    assert "one" in failure.reason


def test_the_reference_group_reaches_the_drawn_rows(tmp_path: Path) -> None:
    from dataclasses import replace

    scored().to_parquet(tmp_path / "t.parquet")
    target, sample = load(tmp_path)
    groups = {**sample.groups, "age": replace(sample.groups["age"], reference="30")}
    drawn = draw(target, replace(sample, groups=groups))
    assert drawn.sample.groups["age"].reference == "30"
    assert isinstance(drawn.mark(Failure(probe="p", target="t", reason="r")), Failure)
    assert not isinstance(drawn.mark(Failure(probe="p", target="t", reason="r")), Finding)


def test_rows_are_drawn_from_object_storage_as_from_files(tmp_path: Path) -> None:
    """fsspec's memory file system stands for any storage."""
    fsspec = pytest.importorskip("fsspec", reason="addresses need the extra `big`")
    frame, address = scored(), f"memory://rows-{uuid.uuid4().hex}"
    frame.to_parquet(tmp_path / "t.parquet")
    for i, part in enumerate((frame[:2500], frame[2500:])):
        with fsspec.filesystem("memory").open(f"{address}/part-{i}.parquet", "wb") as file:
            part.to_parquet(file, index=False)
    local, remote = load(tmp_path)[1].reduced.sampled(), load(tmp_path, f"{address}/*.parquet")[1].reduced.sampled()
    assert list(local.inputs["place"]) == list(remote.inputs["place"])
    assert local.fingerprint == remote.fingerprint


def test_where_all_rows_are_drawn_nothing_is_called_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small table that was counted all the same: its findings are of all rows, and say no other thing."""
    for module in (row_sample, reduced):
        monkeypatch.setattr(module, "ROWS", 20_000)
    scored().dropna().to_parquet(tmp_path / "t.parquet")
    target, sample = load(tmp_path)
    done = run_unit(unit(Scores(draws=200), target), sample, 3)
    assert done.findings
    assert max(f.estimate.n for f in done.findings) == sample.n
    assert not any("sampled" in f.detail or "sample of" in f.not_shown for f in done.findings)
    assert not any("sample of" in note for note in sample.notes)
    assert any("put to all rows" in note for note in sample.notes)
