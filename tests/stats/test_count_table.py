"""The count table: equal to a recount of rows, the same bytes for the same rows in any order, nothing else accepted."""

from __future__ import annotations

import contextlib
import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.audit.canonical import FrozenMap
from steelyard.audit.errors import IntegrityError, ProbeError
from steelyard.audit.target import Groups
from steelyard.probes.stats.rates import RATES
from steelyard.probes.stats.table import CountTable


def rows(seed: int, n: int = 60) -> tuple[FrozenMap, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    groups = FrozenMap(
        {
            "sex": Groups(codes=rng.integers(0, 2, n), levels=("Female", "Male")),
            "race": Groups(codes=rng.integers(0, 4, n), levels=("A", "B", "C", "unknown"), unknown=3),
        }
    )
    return groups, rng.integers(0, 2, n), rng.integers(0, 2, n), rng.gamma(2, 1, n) + 0.1, rng.integers(0, 15, n)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_every_rate_equals_a_recount_of_rows(seed: int) -> None:
    groups, labels, decisions, _, _ = rows(seed)
    table = CountTable.from_rows(groups, labels, decisions)
    marginal = table.groups(("sex", "race"))
    for g, name in enumerate(marginal.names):
        sex, race = name.split("*")
        own = (groups["sex"].codes == groups["sex"].levels.index(sex)) & (
            groups["race"].codes == groups["race"].levels.index(race)
        )
        counts = table.counts[marginal.of_cell == g].sum(axis=0)
        y, d = labels[own], decisions[own]
        assert marginal.rows[g] == own.sum()
        assert marginal.unknown[g] == (race == "unknown")
        recount = {
            "selection-rate": (d.sum(), own.sum()),
            "tpr": ((y & d).sum(), y.sum()),
            "fpr": (((1 - y) & d).sum(), (1 - y).sum()),
            "fnr": ((y & (1 - d)).sum(), y.sum()),
            "tnr": (((1 - y) & (1 - d)).sum(), (1 - y).sum()),
            "ppv": ((y & d).sum(), d.sum()),
            "npv": (((1 - y) & (1 - d)).sum(), (1 - d).sum()),
            "accuracy": ((y == d).sum(), own.sum()),
            "base-rate": (y.sum(), own.sum()),
        }
        assert set(recount) == set(RATES)
        for rate, (k, n) in recount.items():
            assert counts[np.array(RATES[rate].numerator)].sum() == k
            assert counts[np.array(RATES[rate].denominator)].sum() == n


@pytest.mark.parametrize("design", ["plain", "weights", "clusters", "both"])
@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_bytes_do_not_depend_on_the_order_of_rows(design: str, seed: int) -> None:
    groups, labels, decisions, weights, clusters = rows(seed)
    order = np.random.default_rng(seed + 1).permutation(labels.size)
    relabel = np.random.default_rng(seed + 2).permutation(15)

    def build(order: np.ndarray, clusters: np.ndarray) -> CountTable:
        moved = {k: Groups(codes=g.codes[order], levels=g.levels, unknown=g.unknown) for k, g in groups.items()}
        return CountTable.from_rows(
            FrozenMap(moved),
            labels[order],
            decisions[order],
            weights=weights[order] if design in {"weights", "both"} else None,
            clusters=clusters[order] if design in {"clusters", "both"} else None,
        )

    first = build(np.arange(labels.size), clusters)
    assert build(order, relabel[clusters]).to_bytes() == first.to_bytes()
    again = CountTable.from_bytes(first.to_bytes())
    assert again.to_bytes() == first.to_bytes()
    assert again.digest == first.digest
    assert (again.attributes, again.levels, again.unknown) == (first.attributes, first.levels, first.unknown)


def test_second_moment_equals_the_sum_over_clusters() -> None:
    groups, labels, decisions, weights, clusters = rows(3)
    for w in (None, weights):
        table = CountTable.from_rows(groups, labels, decisions, weights=w, clusters=clusters)
        f = table.counts.size
        expected = np.zeros((f, f))
        for u in np.unique(clusters):
            own = clusters == u
            part = {k: Groups(codes=g.codes[own], levels=g.levels) for k, g in groups.items()}
            x = np.zeros(f)
            of = CountTable.from_rows(part, labels[own], decisions[own], weights=None if w is None else w[own])
            for cell, counts in zip(of.cells, of.counts, strict=True):
                at = np.flatnonzero((table.cells == cell).all(axis=1))[0]
                x[4 * at : 4 * at + 4] = counts.ravel()
            expected += np.outer(x, x)
        assert table.moment is not None
        np.testing.assert_allclose(table.moment.quadratic(np.eye(f)), expected, atol=1e-9)
        np.testing.assert_allclose(table.moment.diagonal(np.eye(f)), np.diag(expected), atol=1e-9)


def test_many_attributes_are_counted_without_a_dense_array() -> None:
    rng = np.random.default_rng(0)
    groups = {
        f"a{i}": Groups(codes=rng.integers(0, 40, 500), levels=tuple(str(j) for j in range(40))) for i in range(5)
    }
    decisions = rng.integers(0, 2, 500)
    table = CountTable.from_rows(groups, None, decisions)
    assert table.n == 500
    marginal = table.groups(("a0",))
    for g in range(40):
        assert marginal.rows[g] == (groups["a0"].codes == g).sum()


def test_unknown_is_a_group_to_compare_only_when_asked() -> None:
    codes = np.array([0, 1, 2, 0, 1, 2])
    for compare in (False, True):
        group = Groups(codes=codes, levels=("a", "b", "unknown"), unknown=2, compare_unknown=compare)
        table = CountTable.from_rows({"g": group}, None, np.zeros(6))
        assert table.groups(("g",)).unknown.tolist() == [False, False, not compare]


def test_wrong_rows_are_refused_in_one_line() -> None:
    g = {"g": Groups(codes=np.array([0, 1]), levels=("a", "b"))}
    zeros = np.zeros(2, dtype=int)
    cases = [
        (lambda: CountTable.from_rows(g, None, np.array([], dtype=int)), "no rows"),
        (lambda: CountTable.from_rows(g, None, np.array([0, 2])), "other than 0 and 1"),
        (lambda: CountTable.from_rows(g, None, np.array([0.0, np.nan])), "other than 0 and 1"),
        (lambda: CountTable.from_rows(g, np.array([0, 1, 1]), zeros), "labels"),
        (lambda: CountTable.from_rows(g, None, zeros, weights=np.array([1.0, 0.0])), "positive"),
        (lambda: CountTable.from_rows(g, None, zeros, weights=np.array([1.0, np.nan])), "positive"),
        (lambda: CountTable.from_rows(g, None, zeros, clusters=np.array([1])), "cluster"),
        (lambda: CountTable.from_rows({"g": Groups(codes=np.array([0, 5]), levels=("a",))}, None, zeros), "outside"),
        (lambda: CountTable.from_rows(g, None, zeros).groups(("h",)), "no attribute 'h'"),
    ]
    for call, words in cases:
        with pytest.raises(ProbeError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


@given(st.integers(0, 10_000), st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_damaged_bytes_are_refused_or_harmless(seed: int, place: int) -> None:
    """A flipped byte is found by its digest; reading it must at worst refuse in one line, never crash."""
    groups, labels, decisions, _, clusters = rows(1)
    data = bytearray(CountTable.from_rows(groups, labels, decisions, clusters=clusters).to_bytes())
    rng = np.random.default_rng(seed)
    data[place % len(data)] ^= int(rng.integers(1, 256))
    with contextlib.suppress(IntegrityError):
        CountTable.from_bytes(bytes(data))


def test_what_is_no_table_is_refused() -> None:
    compressed = io.BytesIO()
    with zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.npy", b"0" * 10_000)
    pickled = io.BytesIO()
    np.savez(pickled, meta=np.array([{"a": 1}], dtype=object))
    for data in (b"", b"not a zip", compressed.getvalue(), pickled.getvalue()):
        with pytest.raises(IntegrityError, match="not a count table"):
            CountTable.from_bytes(data, where="evidence/x.npz")
