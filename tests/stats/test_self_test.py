"""The gate weighed against known truths: both error rates of its verdicts, and the joint coverage of its intervals.

Every check runs over 1,000 seeded audits and is held to a binomial limit. The same checks are then given two broken
gates, one without the correction for many contrasts and one that never decides, and must catch both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
from numpy.random import Generator
from scipy.special import bdtr, bdtrc

from steelyard.audit.canonical import generator
from steelyard.audit.target import Groups
from steelyard.audit.types import Status
from steelyard.probes.stats.claims import decide
from steelyard.probes.stats.contrasts import JointContrasts, joint_contrasts
from steelyard.probes.stats.table import CountTable

pytestmark = pytest.mark.slow

RUNS, DRAWS, ALPHA, LEVEL = 1000, 1000, 0.05, 0.95
DOUBT = 0.005  # a check turns down a gate that is exactly on its limit this often

Form = Literal["difference", "ratio"]
Gate = Callable[[CountTable, float, Form, Generator], Status]


def compare(table: CountTable, form: Form, rng: Generator) -> JointContrasts:
    return joint_contrasts(table, ("selection-rate",), (("g",),), form, level=LEVEL, draws=DRAWS, rng=rng)


def honest(table: CountTable, tau: float, form: Form, rng: Generator) -> Status:
    claim = compare(table, form, rng).claim(tau, ALPHA)
    return decide(claim.fail_p, claim.pass_p, ALPHA)


def uncorrected(table: CountTable, tau: float, form: Form, rng: Generator) -> Status:
    """Every contrast at its own level: no max-T, no Bonferroni."""
    from scipy.special import ndtr

    from steelyard.probes.stats.intervals import score_z_difference, score_z_ratio

    joint = compare(table, form, rng)
    (k1, n1), (k2, n2) = ((joint.arms.k[i], joint.arms.n[i]) for i in (joint.first, joint.second))
    if form == "difference":
        upper, lower = score_z_difference(k1, n1, k2, n2, tau), score_z_difference(k1, n1, k2, n2, -tau)
        fail_p = 2 * min(ndtr(-upper).min(), ndtr(lower).min())
    else:
        fail_p = min(ndtr(score_z_ratio(k1, n1, k2, n2, tau)).min(), ndtr(score_z_ratio(k2, n2, k1, n1, tau)).min())
    return decide(fail_p, joint.claim(tau, ALPHA).pass_p, ALPHA)


def undecided(table: CountTable, tau: float, form: Form, rng: Generator) -> Status:
    return Status.INCONCLUSIVE


@dataclass(frozen=True, kw_only=True)
class Truth:
    """True rates, group sizes and a tolerance, with what a gate may or must answer."""

    name: str
    p: tuple[float, ...]
    n: int
    tau: float
    form: Form = "difference"
    fail_at_most: float | None = None
    pass_at_most: float | None = None
    fail_at_least: float | None = None
    pass_at_least: float | None = None


def halves(k: int, low: float, high: float) -> tuple[float, ...]:
    return (low,) * (k // 2) + (high,) * (k // 2)


def truths(k: int) -> list[Truth]:
    wrong = {"fail_at_most": ALPHA, "pass_at_most": ALPHA}
    return [
        Truth(name="gap of exactly tau", p=halves(k, 0.3, 0.4), n=500, tau=0.1, **wrong),
        Truth(name="gap of exactly tau, small groups", p=halves(k, 0.3, 0.5), n=40, tau=0.2, **wrong),
        Truth(name="gap of exactly tau, rare events", p=halves(k, 0.01, 0.05), n=30, tau=0.04, **wrong),
        Truth(name="gap of exactly tau, some rates small", p=halves(k, 0.01, 0.05), n=300, tau=0.04, **wrong),
        Truth(name="ratio of exactly tau", p=halves(k, 0.4, 0.5), n=500, tau=0.8, form="ratio", **wrong),
        Truth(name="ratio of exactly tau, rare events", p=halves(k, 0.04, 0.05), n=30, tau=0.8, form="ratio", **wrong),
        Truth(name="fair, no tolerance", p=(0.3,) * k, n=5000 // k, tau=0.0, fail_at_most=ALPHA),
        Truth(name="fair, no tolerance, rare events", p=(0.03,) * k, n=30, tau=0.0, fail_at_most=ALPHA),
        Truth(name="fair ratio, no tolerance", p=(0.3,) * k, n=5000 // k, tau=1.0, form="ratio", fail_at_most=ALPHA),
        Truth(name="fair, tau .1", p=(0.3,) * k, n=5000 // k, tau=0.1, fail_at_most=ALPHA, pass_at_least=0.85),
        Truth(name="gap of .25", p=halves(k, 0.3, 0.55), n=3000, tau=0.1, fail_at_least=0.95, pass_at_most=ALPHA),
    ]


def shortcomings(truth: Truth, gate: Gate, table: Callable[..., CountTable]) -> list[str]:
    """What `gate` gets wrong too often, or right too seldom."""
    rng = generator(8, truth.name + str(len(truth.p)))
    drawn = rng.binomial(truth.n, np.array(truth.p), size=(RUNS, len(truth.p)))
    answers = [gate(table(k, truth.n), truth.tau, truth.form, rng) for k in drawn]
    fails, passes = answers.count(Status.FAIL), answers.count(Status.PASS)
    found = []
    for count, limit, name in ((fails, truth.fail_at_most, "fails"), (passes, truth.pass_at_most, "passes")):
        if limit is not None and bdtrc(count - 1, RUNS, limit) < DOUBT:
            found.append(f"{truth.name}: {name} {count} of {RUNS}, at most {limit}")
    for count, limit, name in ((fails, truth.fail_at_least, "fails"), (passes, truth.pass_at_least, "passes")):
        if limit is not None and bdtr(count, RUNS, limit) < DOUBT:
            found.append(f"{truth.name}: {name} {count} of {RUNS}, at least {limit}")
    return found


@pytest.mark.parametrize("truth", [*truths(2), *truths(6)], ids=lambda t: f"{t.name}, {len(t.p)} groups")
def test_the_gate_keeps_both_error_rates(truth: Truth, plain_table: Callable[..., CountTable]) -> None:
    assert shortcomings(truth, honest, plain_table) == []


def test_a_gate_without_the_correction_is_caught(plain_table: Callable[..., CountTable]) -> None:
    fair = [truth for truth in truths(6) if truth.name in {"fair, no tolerance", "fair ratio, no tolerance"}]
    assert len([line for truth in fair for line in shortcomings(truth, uncorrected, plain_table)]) == 2


def test_a_gate_that_never_decides_is_caught(plain_table: Callable[..., CountTable]) -> None:
    found = [line for truth in truths(6) for line in shortcomings(truth, undecided, plain_table)]
    assert [line.split(":")[0] for line in found] == ["fair, tau .1", "gap of .25"]


@pytest.mark.parametrize("form", ["difference", "ratio"])
@pytest.mark.parametrize(
    ("p", "n"),
    [
        (halves(2, 0.3, 0.4), 100),
        (halves(6, 0.3, 0.4), 100),
        (halves(6, 0.05, 0.2), 120),  # half of the rates small
    ],
)
def test_intervals_cover_jointly(
    form: Form, p: tuple[float, ...], n: int, plain_table: Callable[..., CountTable]
) -> None:
    rng = generator(8, f"coverage {form} {p}")
    drawn = rng.binomial(n, np.array(p), size=(RUNS, len(p)))
    covered = sum(covers(compare(plain_table(k, n), form, rng), np.array(p)) for k in drawn)
    assert bdtr(covered, RUNS, LEVEL) >= DOUBT, covered


def covers(joint: JointContrasts, truth: np.ndarray) -> bool:
    rates = truth[[int(name) for name in joint.layout.names]]
    p, q = rates[joint.first], rates[joint.second]
    value = p - q if joint.form == "difference" else p / q
    low, high = joint.limits
    widest = joint.estimate
    extreme = np.abs(value).max() if joint.form == "difference" else np.minimum(value, 1 / value).min()
    inside = bool(((low <= value + 1e-12) & (value <= high + 1e-12)).all())
    return inside and widest.low <= extreme + 1e-12 and extreme <= widest.high + 1e-12


def persons(rng: Generator, p: np.ndarray, each: int, rows: int, correlation: float, *, weighted: bool) -> CountTable:
    """`each` persons a group with `rows` rows each, beta-binomial with the given intra-person correlation."""
    group = np.repeat(np.arange(p.size), each)
    spread = 1 / correlation - 1
    own = rng.beta(p[group] * spread, (1 - p[group]) * spread)
    cluster = np.repeat(np.arange(group.size), rows)
    decisions = (rng.random(cluster.size) < own[cluster]).astype(np.int64)
    codes = Groups(codes=group[cluster], levels=tuple(str(i) for i in range(p.size)))
    weights = rng.gamma(2.0, 1.0, cluster.size) + 0.05 if weighted else None
    return CountTable.from_rows({"g": codes}, None, decisions, weights=weights, clusters=cluster)


@pytest.mark.parametrize(
    ("p", "each", "tau", "weighted"),
    [
        (halves(6, 0.3, 0.3), 60, 0.0, False),
        (halves(6, 0.3, 0.3), 60, 0.0, True),
        (halves(2, 0.3, 0.4), 400, 0.1, False),
        (halves(2, 0.02, 0.10), 100, 0.08, False),  # small rates
    ],
)
def test_clustered_rows_keep_error_rates_and_coverage(
    p: tuple[float, ...], each: int, tau: float, weighted: bool
) -> None:
    rng = generator(8, f"clusters {p} {weighted}")
    fails = passes = covered = 0
    for _ in range(RUNS):
        table = persons(rng, np.array(p), each, 5, 0.5, weighted=weighted)
        joint = compare(table, "difference", rng)
        claim = joint.claim(tau, ALPHA)
        status = decide(claim.fail_p, claim.pass_p, ALPHA)
        fails, passes = fails + (status is Status.FAIL), passes + (status is Status.PASS)
        covered += covers(joint, np.array(p))
    assert bdtrc(fails - 1, RUNS, ALPHA) >= DOUBT, fails
    assert bdtrc(passes - 1, RUNS, ALPHA) >= DOUBT, passes
    assert bdtr(covered, RUNS, LEVEL) >= DOUBT, covered


def test_rows_of_one_person_taken_as_independent_are_caught() -> None:
    """The same data without their clusters fail far more often than alpha: the check above can fail."""
    rng = generator(8, "clusters ignored")
    fails = 0
    for _ in range(300):
        table = persons(rng, np.full(6, 0.3), 60, 5, 0.5, weighted=False)
        naive = CountTable(
            attributes=table.attributes, levels=table.levels, unknown=table.unknown,
            compare_unknown=table.compare_unknown, cells=table.cells, counts=table.counts, rows=table.rows,
            labelled=False, weighted=False,
        )  # fmt: skip
        fails += honest(naive, 0.0, "difference", rng) is Status.FAIL
    assert bdtrc(fails - 1, 300, ALPHA) < DOUBT
