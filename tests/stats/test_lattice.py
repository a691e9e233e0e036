"""Every conjunction counted against a loop over rows; the reading of what a search found against other libraries."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.probes.stats.intervals import difference_limits
from steelyard.probes.stats.lattice import Axis, conjunctions, distinct, lattice_size, strongest
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.part_rest import PartsAndRest, share_of, weight_of
from steelyard.probes.stats.searched import largest, scaled, single


def axes_of(rng, n, levels, *, unknown=()):
    found = []
    for i, k in enumerate(levels):
        codes = rng.integers(0, k, n)
        if i in unknown:
            codes = np.where(rng.random(n) < 0.2, -1, codes)
        found.append(Axis(name=f"a{i}", levels=tuple(f"l{j}" for j in range(k)), codes=codes))
    return found


def brute(axes, depth, required=0):
    """Every conjunction's members, by a loop over conjunctions and rows."""
    fixed = tuple(range(required))
    for k in range(0 if required else 1, depth + 1):
        for chosen in combinations(range(required, len(axes)), k):
            places = fixed + chosen
            for levels in product(*(range(len(axes[i].levels)) for i in places)):
                terms = tuple(zip(places, levels, strict=True))
                n = len(axes[0].codes)
                yield terms, np.array([all(axes[i].codes[r] == level for i, level in terms) for r in range(n)])


def cells(blocks):
    """(terms, rows, totals) of each conjunction of some blocks."""
    for block in blocks:
        for place in np.ndindex(block.rows.shape):
            yield tuple(zip(block.axes, place, strict=True)), int(block.rows[place]), block.totals[:, *place]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    levels=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    depth=st.integers(1, 4),
    required=st.integers(0, 1),
)
def test_every_conjunction_is_counted_as_a_loop_counts_it(seed, levels, depth, required):
    rng = np.random.default_rng(seed)
    n = 40
    axes = axes_of(rng, n, levels, unknown={0, 2})
    hits, value = rng.random(n) < 0.4, rng.normal(size=n)
    expected = dict(brute(axes, depth, required))
    counted = list(cells(conjunctions(axes, depth, hits=hits, values=(value,), required=required)))
    assert len(counted) == len(expected) == lattice_size(axes, depth, required)
    for terms, rows, totals in counted:
        inside = expected[terms]
        assert rows == inside.sum()
        assert totals[0] == hits[inside].sum()
        assert totals[1] == pytest.approx(value[inside].sum(), abs=1e-12)
    bare = {terms: rows for terms, rows, _ in cells(conjunctions(axes, depth, required=required))}
    assert bare == {terms: rows for terms, rows, _ in counted}


def test_the_strongest_are_those_of_a_full_sort():
    rng = np.random.default_rng(3)
    axes, hits = axes_of(rng, 400, [3, 4, 2, 3]), rng.random(400) < 0.3

    def score(rows, totals):
        with np.errstate(invalid="ignore", divide="ignore"):
            gap = np.abs(totals[0] / rows - hits.mean())
        return np.where(rows >= 10, np.stack([gap, rows.astype(float)]), -np.inf)

    ranked = strongest(conjunctions(axes, 3, hits=hits), score, keep=15)
    everything = [(t, inside) for t, inside in brute(axes, 3) if inside.sum() >= 10]
    for ranking, of in ((0, lambda m: abs(hits[m].mean() - hits.mean())), (1, lambda m: float(m.sum()))):
        full = sorted(everything, key=lambda item: (-of(item[1]), len(item[0]), item[0]))[:15]
        assert [c.score for c in ranked[ranking]] == pytest.approx([of(m) for _, m in full])
    assert [c.terms for c in ranked[0]] == [
        t for t, _ in sorted(everything, key=lambda i: (-abs(hits[i[1]].mean() - hits.mean()), len(i[0]), i[0]))[:15]
    ]


def test_a_group_its_complement_and_its_copy_are_one():
    sex = np.repeat([0, 1], 50)
    copy = sex.copy()
    copy[0] = 1
    other = np.tile([0, 1], 50)
    axes = [
        Axis(name=name, levels=("x", "y"), codes=codes)
        for name, codes in (("sex", sex), ("copy", copy), ("other", other))
    ]
    ranked = strongest(conjunctions(axes, 1), lambda rows, totals: rows[None].astype(float), keep=10)
    names = [c.name(axes) for c in distinct(axes, ranked, top=10, overlap=0.8)]
    assert len(names) == 2
    assert {name.split("=")[0] for name in names} <= {"sex", "copy", "other"}
    assert len(distinct(axes, ranked, top=10, overlap=0.99)) == 3


def test_oracle_the_test_is_the_chi_squared_one():
    from scipy.stats import chi2, chi2_contingency

    rng = np.random.default_rng(0)
    n = 500
    hits, part = rng.random(n) < 0.3, rng.random(n) < 0.2
    measured = PartsAndRest.measure(hits, [part], Design(n=n))
    table = [[(hits & part).sum(), (~hits & part).sum()], [(hits & ~part).sum(), (~hits & ~part).sum()]]
    pearson = chi2_contingency(table, correction=False).statistic
    assert measured.p_values[0] == pytest.approx(chi2.sf(pearson * (n - 1) / n, 1), rel=1e-9)  # n - 1: score form
    low, high = measured.limits(np.array([[0.05]]))
    assert (low[0, 0], high[0, 0]) == pytest.approx(
        difference_limits(table[0][0], part.sum(), table[1][0], n - part.sum())
    )


def test_rows_copied_within_clusters_say_no_more():
    rng = np.random.default_rng(1)
    n = 600
    hits, part = rng.random(n) < 0.3, rng.random(n) < 0.25
    once = PartsAndRest.measure(hits, [part], Design(n=n))
    thrice = Design(n=3 * n, clusters=np.repeat(np.arange(n), 3))
    again = PartsAndRest.measure(np.repeat(hits, 3), [np.repeat(part, 3)], thrice)
    blind = PartsAndRest.measure(np.repeat(hits, 3), [np.repeat(part, 3)], Design(n=3 * n))
    assert again.gap == pytest.approx(once.gap)
    assert again.n_in == pytest.approx(once.n_in, rel=0.02)
    assert again.p_values == pytest.approx(once.p_values, rel=0.1)
    assert blind.n_in == pytest.approx(3 * once.n_in)


def test_equal_weights_change_nothing_and_unequal_ones_cost_rows():
    rng = np.random.default_rng(2)
    n = 800
    hits, part = rng.random(n) < 0.3, rng.random(n) < 0.25
    plain = PartsAndRest.measure(hits, [part], Design(n=n))
    equal = PartsAndRest.measure(hits, [part], Design(n=n, weights=np.full(n, 2.5)))
    assert equal.gap == pytest.approx(plain.gap)
    assert equal.n_in == pytest.approx(plain.n_in, rel=0.02)
    uneven = PartsAndRest.measure(hits, [part], Design(n=n, weights=rng.exponential(size=n) + 0.01))
    assert uneven.n_in[0] < 0.75 * plain.n_in[0]


@pytest.mark.parametrize("weighted", [False, True])
def test_the_weight_is_kearns(weighted):
    """weight · (rate(g) - rate(rest)) = P(g, base) · (rate(g) - rate(all)), and its error is that of resamples."""
    rng = np.random.default_rng(4)
    n = 4000
    base, part = rng.random(n) < 0.6, rng.random(n) < 0.2
    hits = rng.random(n) < np.where(part, 0.5, 0.3)
    design = Design(n=n, weights=rng.exponential(size=n) + 0.05 if weighted else None)
    w = np.ones(n) if design.weights is None else design.weights

    def rate(rows):
        return float((w * hits)[rows].sum() / w[rows].sum())

    factor, se = weight_of(part, base, design)
    direct = w[part & base].sum() / w.sum() * (rate(part & base) - rate(base))
    assert factor * (rate(part & base) - rate(~part & base)) == pytest.approx(direct, rel=1e-12)
    drawn = []
    for _ in range(600):
        rows = rng.integers(0, n, n)
        again = Design(n=n, weights=None if design.weights is None else design.weights[rows])
        drawn.append(weight_of(part[rows], base[rows], again)[0])
    assert se == pytest.approx(np.std(drawn), rel=0.12)
    share, share_se = share_of(part, design)
    assert share == pytest.approx(w[part].sum() / w.sum())
    assert 0 < share_se < 0.02


def read(rng, n=1500, gaps=(0.0, 0.0, 0.1)):
    """Three overlapping groups, of which the last truly differs by the last gap."""
    parts = [rng.random(n) < share for share in (0.5, 0.1, 0.2)]
    hits = rng.random(n) < 0.25 + sum(gap * part for gap, part in zip(gaps, parts, strict=True))
    design = Design(n=n)
    measured = PartsAndRest.measure(hits, parts, design)
    factor, wobble = np.array([weight_of(part, np.ones(n, dtype=bool), design) for part in parts]).T
    joint = largest(measured.gap, measured.limits, design, level=0.95, what="score")
    heavy = largest(
        factor * measured.gap, scaled(measured.gap, measured.limits, factor, wobble), design, level=0.95, what="both"
    )
    return measured, joint, heavy


@pytest.mark.slow
def test_the_largest_of_several_is_covered():
    """Truth: gaps 0, 0, .1 (weights .25, .09, .16); a false alarm at most in 5 % of runs, its limits in 95 %."""
    rng = np.random.default_rng(5)
    runs, missed, heavy_missed, alarms, unjust = 200, 0, 0, 0, 0
    for _ in range(runs):
        _, joint, heavy = read(rng)
        missed += not joint.estimate.low <= 0.1 <= joint.estimate.high
        heavy_missed += not heavy.estimate.low <= 0.016 <= heavy.estimate.high
        quantiles = np.array(joint.basis.quantiles)
        assert (np.diff(quantiles) >= 0).all()
        unjust += abs(joint.estimate.value - 0.1) > quantiles[int(np.ceil(0.95 * (len(quantiles) - 1)))]
        _, fair, _ = read(rng, gaps=(0.0, 0.0, 0.0))
        alarms += fair.estimate.low > 0
    for count in (missed, heavy_missed, alarms, unjust):
        assert count / runs <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs), (missed, heavy_missed, alarms, unjust)


def test_each_gap_has_a_joint_interval_and_a_basis_of_its_own():
    from steelyard.probes.stats.claims import interval

    measured, joint, _ = read(np.random.default_rng(6))
    every = single(measured.gap, measured.limits, Design(n=1500), measured.n_in, level=0.95, what="score")
    for j, one in enumerate(every):
        low, high = difference_limits(measured.k_in[j], measured.n_in[j], measured.k_out[j], measured.n_out[j])
        mine = interval(one.basis, 0.95)
        assert one.estimate.low < low < one.estimate.value < high < one.estimate.high
        assert mine[0] <= low + 1e-3
        assert mine[1] >= high - 1e-3
    assert joint.estimate.low <= max(abs(one.estimate.value) for one in every) == joint.estimate.value


def test_no_event_at_all_is_no_gap_with_an_interval():
    n = 300
    part = np.arange(n) < 60
    measured = PartsAndRest.measure(np.zeros(n, dtype=bool), [part], Design(n=n))
    joint = largest(measured.gap, measured.limits, Design(n=n), level=0.95, what="score")
    assert measured.p_values[0] == 1.0
    assert joint.estimate.value == joint.estimate.low == 0.0
    assert 0.005 < joint.estimate.high < 0.1
