"""One test for every numbered rule of the statistics, as far as the statistics alone can keep it.

1 fixed before the run (here: a claim is a function of table, settings and generator alone) · 2 simultaneous intervals ·
3 two claims · 4 multiplicity · 5 clusters and weights · 6 attacks · 7 no number from nothing · 8 self-test
(test_self_test.py) · 9 determinism.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

from steelyard.audit.canonical import generator
from steelyard.audit.errors import ProbeError
from steelyard.audit.target import Groups
from steelyard.audit.types import Binomial, Status
from steelyard.probes.stats.claims import claim, decide
from steelyard.probes.stats.contrasts import JointContrasts, joint_contrasts
from steelyard.probes.stats.multiplicity import benjamini_hochberg, holm
from steelyard.probes.stats.power import n_per_group_ratio
from steelyard.probes.stats.table import CountTable
from steelyard.probes.stats.thresholds import tpr_at_fpr

Tables = Callable[..., CountTable]


def joint(table: CountTable, form: str = "difference", seed: int = 1, **settings: object) -> JointContrasts:
    return joint_contrasts(table, ("selection-rate",), (("g",),), form, rng=generator(seed, "rules"), **settings)


def test_rule_1_fixed_before_the_run(plain_table: Tables) -> None:
    """What is tested cannot change after it was set up, and asking one tolerance does not change another's answer."""
    first, second = joint(plain_table([30, 60], 200)), joint(plain_table([30, 60], 200))
    second.claim(0.01)
    second.claim(0.2)
    assert first.claim(0.1) == second.claim(0.1)
    with pytest.raises(FrozenInstanceError):
        first.level = 0.5  # type: ignore[misc]


def test_rule_2_simultaneous_intervals(plain_table: Tables) -> None:
    """Joint limits are wider than single ones, narrower than Bonferroni's; small rates take Bonferroni score limits."""
    from scipy.special import ndtri

    from steelyard.probes.stats.intervals import difference_limits

    many = joint(plain_table([60, 66, 70, 75, 64, 69], 200), draws=20_000)
    low, high = many.limits
    reach = (high - low) / 2 / many.standard_error
    assert 1.96 < reach.min() <= reach.max() < -ndtri(0.025 / 15)
    mixed = joint(plain_table([60, 66, 3], 200), draws=20_000)
    assert mixed.small.sum() == 2  # both contrasts with the third group
    low, high = mixed.limits
    k, n = mixed.arms.k, mixed.arms.n
    for c in np.flatnonzero(mixed.small):
        a, b = mixed.first[c], mixed.second[c]
        expected = difference_limits(k[a], n[a], k[b], n[b], 1 - 0.05 / 3)
        assert (low[c], high[c]) == pytest.approx(expected, abs=1e-9)
    widest = mixed.estimate
    assert widest.low == pytest.approx(max(0, np.maximum(low, -high).max()))
    assert (widest.value, widest.high) == (pytest.approx(63 / 200), pytest.approx(np.abs([low, high]).max()))


def test_rule_3_two_claims_two_procedures(plain_table: Tables) -> None:
    """A fail agrees with the joint lower limit; a pass needs no correction; neither is inconclusive."""
    close = joint(plain_table([150] * 6, 500)).claim(0.1, 0.05)
    assert decide(close.fail_p, close.pass_p, 0.05) is Status.PASS
    assert joint(plain_table([150] * 6, 500)).estimate.high > 0.08  # joint limits are far wider than the pass test
    pair = joint(plain_table([150] * 2, 500)).claim(0.1, 0.05)
    assert close.pass_p == pytest.approx(pair.pass_p)  # the same for 6 groups as for 2
    far = joint(plain_table([150, 250], 500)).claim(0.1, 0.05)
    assert decide(far.fail_p, far.pass_p, 0.05) is Status.FAIL
    few = joint(plain_table([15, 17], 50))
    assert decide(few.claim(0.1).fail_p, few.claim(0.1).pass_p, 0.05) is Status.INCONCLUSIVE
    needed = few.needed_n(0.1)
    assert needed.at_estimate is not None
    assert needed.at_parity is not None
    assert needed.at_estimate > needed.at_parity > 50
    nothing = joint(plain_table([0, 0, 40], 400), form="ratio")  # a rate of zero needs no division
    assert nothing.claim(0.8).fail_p < 1e-6
    assert nothing.estimate.value == 0.0


def test_rule_4_multiplicity() -> None:
    """Holm keeps the family's error over gates, Benjamini-Hochberg is the milder one for exploration."""
    p = np.array([0.012, 0.02, 0.04])
    assert holm(p).tolist() == pytest.approx([0.036, 0.04, 0.04])
    assert (benjamini_hochberg(p) <= holm(p)).all()


def test_rule_5_clusters_and_weights() -> None:
    """Five copies of every row, told as clusters, say what the rows said once; weights cost Kish's share of n."""
    rng = np.random.default_rng(4)
    n = 600
    codes, decisions = rng.integers(0, 2, n), rng.integers(0, 2, n)
    groups = {"g": Groups(codes=codes, levels=("a", "b"))}
    copied = {"g": Groups(codes=np.repeat(codes, 5), levels=("a", "b"))}
    once = joint(CountTable.from_rows(groups, None, decisions))
    five = joint(CountTable.from_rows(copied, None, np.repeat(decisions, 5), clusters=np.repeat(np.arange(n), 5)))
    naive = joint(CountTable.from_rows(copied, None, np.repeat(decisions, 5)))
    np.testing.assert_allclose(five.arms.n, once.arms.n, rtol=0.01)
    np.testing.assert_allclose(five.standard_error, once.standard_error, rtol=0.01)
    assert naive.standard_error[0] < once.standard_error[0] / 2
    weights = rng.gamma(1.0, 1.0, n) + 0.01
    weighted = joint(CountTable.from_rows(groups, None, decisions, weights=weights))
    for g in (0, 1):
        w = weights[codes == g]
        assert weighted.arms.p[g] == pytest.approx(np.average(decisions[codes == g], weights=w))
        assert weighted.arms.n[g] <= w.sum() ** 2 / (w**2).sum() + 1e-9


def test_rule_5_threshold_from_one_half_rates_from_the_other() -> None:
    scores = np.random.default_rng(0).normal(size=1000)
    split = tpr_at_fpr(scores + 1, scores, fpr=0.01, rng=generator(0, "split"))
    assert split.realised_fpr.trials == 500
    with pytest.raises(ProbeError, match="needs 1000 non-members, there are 999"):
        tpr_at_fpr(scores, scores[:999], fpr=0.01, rng=generator(0, "split"))


def test_rule_6_asymmetry_of_attacks() -> None:
    """An attack that found nothing in 20 trials cannot pass a tolerance of 10 %, nor can 0 of 20 fail it."""
    found_nothing = claim(Binomial(successes=0, trials=20), maximum=0.1)
    assert found_nothing.fail_p == 1.0
    assert found_nothing.pass_p > 0.05


def test_rule_7_no_number_from_nothing(plain_table: Tables) -> None:
    for k, settings in (([0, 0], {}), ([0, 5], {"contrast": "reference", "reference": {"g": "0"}})):
        with pytest.raises(ProbeError, match="undefined"):
            _ = joint(plain_table(k, 100), form="ratio", **settings).estimate
    with pytest.raises(ProbeError, match=r"fewer than two groups.*0 100, 1 8"):
        joint(plain_table([30, 5], [100, 8]))
    with pytest.raises(ProbeError, match="needs labels"):
        joint_contrasts(plain_table([3, 4], 100), ("tpr",), (("g",),), rng=generator(1, "x"))
    with pytest.raises(ProbeError, match="no rate called 'recall'"):
        joint_contrasts(plain_table([3, 4], 100), ("recall",), (("g",),), rng=generator(1, "x"))
    left_out = joint(plain_table([30, 40, 5], [100, 100, 8]))
    assert left_out.untested == ((("g",), "2", 8.0),)


def test_rule_8_is_tested_in_full_elsewhere() -> None:
    text = (Path(__file__).parent / "test_self_test.py").read_text()
    assert "RUNS, DRAWS, ALPHA, LEVEL = 1000," in text


def test_rule_9_determinism() -> None:
    """The same name gives the same draws, and the order of rows or the codes of persons change nothing."""
    rng = np.random.default_rng(6)
    n = 500
    codes, decisions, person = rng.integers(0, 3, n), rng.integers(0, 2, n), rng.integers(0, 120, n)

    def answer(order: np.ndarray, name: str = "a", clusters: np.ndarray | None = None) -> tuple[object, ...]:
        groups = {"g": Groups(codes=codes[order], levels=("x", "y", "z"))}
        own = None if clusters is None else clusters[order]
        table = CountTable.from_rows(groups, None, decisions[order], clusters=own)
        compared = joint_contrasts(table, ("selection-rate",), (("g",),), rng=generator(3, name))
        return compared.estimate, compared.claim(0.05)

    straight, shuffled = np.arange(n), rng.permutation(n)
    assert answer(straight) == answer(shuffled)
    assert answer(straight) != answer(straight, "b")
    assert answer(straight, clusters=person) == answer(shuffled, clusters=119 - person)


def test_the_published_compas_figures(shared_data: Path) -> None:
    """ProPublica 2016, two-year data, all 7,214 rows: FPR .4485 / .2345 and FNR .2799 / .4772, Black / White."""
    import pandas as pd

    file = shared_data / "compas" / "compas-scores-two-years.csv"
    if not file.is_file():
        pytest.skip(f"no COMPAS file at {file}")
    frame = pd.read_csv(file)
    assert len(frame) == 7214
    race, levels = pd.factorize(frame["race"], sort=True)
    table = CountTable.from_rows(
        {"race": Groups(codes=race.astype(np.int64), levels=tuple(levels))},
        frame["two_year_recid"].to_numpy(),
        (frame["score_text"] != "Low").to_numpy().astype(np.int64),
    )
    compared = joint_contrasts(table, ("fpr", "fnr"), (("race",),), min_n=100, rng=generator(0, "compas"))
    found = {
        (compared.layout.rates[compared.layout.rate_of[j]], name): compared.arms.p[j]
        for j, name in enumerate(compared.layout.names)
    }
    assert found["fpr", "African-American"] == pytest.approx(0.4485, abs=5e-5)
    assert found["fpr", "Caucasian"] == pytest.approx(0.2345, abs=5e-5)
    assert found["fnr", "African-American"] == pytest.approx(0.2799, abs=5e-5)
    assert found["fnr", "Caucasian"] == pytest.approx(0.4772, abs=5e-5)
    assert compared.claim(0.1).fail_p < 0.01


@pytest.mark.parametrize(("ratio", "directions", "simulated"), [(1.0, 1, 580), (0.9, 1, 2245), (1.0, 2, 800)])
def test_published_sizes_for_an_impact_ratio(ratio: float, directions: int, simulated: int) -> None:
    """Ratio >= .8 at a base rate of .3, power 80 %, one-sided 5 %: the simulated n, within its own error of 2 %."""
    assert n_per_group_ratio(0.3, ratio, directions=directions) == pytest.approx(simulated, rel=0.02)
