"""A record as the four probes would leave it, with names that try to do harm, for tests/reports and tests/browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from steelyard.audit.record import SCHEMA, GroupCount, Record, SampleCard, TargetCard, TrainedCard
from steelyard.audit.types import (
    Binomial,
    Direction,
    Estimate,
    Evidence,
    Failure,
    Finding,
    Inapplicable,
    Scalar,
    Status,
    Verdict,
)

SCRIPT = "<script>window.harmed=1;alert(1)</script>"
FORMULA = '=HYPERLINK("http://x.example")'
IMAGE = '"><img src=x onerror="window.harmed=1">'
LONG = "Long " + "name " * 60
ARABIC = "مجموعة"
HAN = "漢族"
HOSTILE = (SCRIPT, FORMULA, IMAGE, LONG, ARABIC, HAN, "pipe | `tick` [link](http://x.example)", "a\u202eb\x07c")

TARGETS = ("candidate", "baseline/logistic", "baseline/boosting")
SEXES = {"Female": 4913, "Male": 10162}
RACES = {
    "White": 12970,
    "Black": 1411,
    "Asian-Pac-Islander": 435,
    "Amer-Indian-Eskimo": 149,
    "Other": 103,
    "Rare": 7,
}
RATES = ("tpr", "fpr", "fnr", "ppv", "npv", "accuracy")
STATISTICS = ("difference", "ratio", "difference-to-reference", "ratio-to-reference", "difference-to-rest")


def estimate(value: float, half: float, n: int, method: str = "Clopper-Pearson, each group on its own") -> Estimate:
    return Estimate(
        value=value, low=max(0.0, value - half), high=min(1.0, value + half), level=0.95, n=n, method=method
    )


def finding(metric: str, target: str, est: Estimate, where: dict[str, Scalar] | None = None, **more: object) -> Finding:
    fields: dict[str, object] = {
        "definition": f"definition of {metric.rsplit('.', 1)[1]}: P(ŷ = 1 | g)",
        "direction": Direction.HIGHER,
        "ideal": None,
        "not_shown": "whether the decisions are right",
    }
    fields |= more
    question = metric.rsplit(".", 1)[0]
    return Finding(
        metric=metric, target=target, estimate=est, probe=question, probe_version=1, where=where or {}, **fields
    )  # type: ignore[arg-type]


def curve(shift: float) -> Evidence:
    bins = []
    for i in range(15):
        score = (i + 0.5) / 15
        rate = min(1.0, max(0.0, score + shift * (0.5 - score)))
        bins.append(
            {
                "score": score,
                "rate": rate,
                "rate_low": max(0.0, rate - 0.04),
                "rate_high": min(1.0, rate + 0.04),
                "n": 1005,
            }
        )
    return Evidence(name="reliability-curve", kind="json", data=json.dumps({"bins": bins}).encode())


def quality(target: str, index: int) -> Iterator[Finding]:
    n = 15075
    up, down = Direction.HIGHER, Direction.LOWER
    shift = 0.01 * index
    rows = {"accuracy": (0.853 + shift, up, 1.0), "auc": (0.906 + shift, up, 1.0), "brier": (0.102 - shift, down, 0.0)}
    for name, (value, direction, ideal) in rows.items():
        metric = f"quality.performance.{name}"
        yield finding(metric, target, estimate(value, 0.006, n, "Wilson"), direction=direction, ideal=ideal)
    loss = Estimate(value=0.31 + shift, low=0.30, high=0.36, level=0.95, n=n, method="Student t")
    yield finding("quality.performance.log-loss", target, loss, direction=down, ideal=0.0)
    for sex, rows_of in SEXES.items():
        where: dict[str, Scalar] = {"attribute": "sex", "group": sex}
        value = 0.92 if sex == "Female" else 0.82
        yield finding(
            "quality.performance.accuracy", target, estimate(value, 0.008, rows_of), where, direction=up, ideal=1.0
        )
    ece = estimate(0.021 + shift, 0.006, n, "triangle inequality over count resamples")
    yield finding(
        "quality.calibration.ece",
        target,
        ece,
        direction=down,
        ideal=0.0,
        evidence=(curve(0.1 * index),),
        detail={"bins": 15},
    )
    if target == "candidate":
        for name in TARGETS[1:]:
            gain = Estimate(value=-0.012, low=-0.018, high=-0.006, level=0.95, n=n, method="paired score interval")
            yield finding(
                "quality.performance.accuracy-gain",
                target,
                gain,
                {"versus": name},
                direction=up,
                definition="paired gain",
            )


def groups() -> Iterator[tuple[dict[str, Scalar], int]]:
    for name, levels in (("sex", SEXES), ("race", RACES)):
        for group, n in levels.items():
            yield {"attribute": name, "group": group}, n
    for (sex, share), (race, n) in product((("Female", 0.35), ("Male", 0.65)), RACES.items()):
        yield {"intersection": "sex*race", "group": f"{sex}*{race}"}, max(1, round(n * share))


def scopes() -> tuple[dict[str, Scalar], ...]:
    return ({"attribute": "sex"}, {"attribute": "race"}, {"intersection": "sex*race"}, {}, {"intersections": 2})


def fairness(target: str, index: int, *, full: bool) -> Iterator[Finding]:
    rates = {
        "fairness.selection-rate.rate": 0.2,
        **{f"fairness.error-rates.{r}": 0.3 for r in (RATES if full else RATES[:2])},
    }
    for metric, base in rates.items():
        for step, (where, n) in enumerate(groups()):
            value = round(base + 0.012 * step + 0.01 * index, 4)
            yield finding(
                metric,
                target,
                estimate(value, min(0.3, 1 / n**0.5), n),
                where,
                direction=Direction.NONE,
                basis=Binomial(successes=value * n, trials=n),
            )
        prefix = metric.replace(".rate", ".") if metric.endswith(".rate") else f"{metric}-"
        for statistic in STATISTICS if full else STATISTICS[:2]:
            ratio = statistic.startswith("ratio")
            for step, where in enumerate(scopes()):
                value = 0.36 + 0.02 * step if ratio else 0.19 + 0.015 * step - 0.01 * index
                yield finding(
                    f"{prefix}{statistic}",
                    target,
                    estimate(value, 0.03, 15075, "simultaneous over all contrasts in scope"),
                    where,
                    direction=Direction.HIGHER if ratio else Direction.LOWER,
                    ideal=1.0 if ratio else 0.0,
                    detail={
                        "of": "sex",
                        "rate": metric.rsplit(".", 1)[1],
                        "lowest": "Female",
                        "highest": "Male",
                        "lowest_rate": 0.11,
                        "highest_rate": 0.31,
                        "contrast": "pairwise",
                        "contrasts": 10,
                        "small_contrasts": 2,
                        "untested": "race: Rare (n = 7)",
                    },
                )


def hostile_findings() -> Iterator[Finding]:
    for step, name in enumerate(HOSTILE):
        yield finding(
            "fairness.hostile-names.rate",
            "candidate",
            estimate(0.2 + 0.05 * step, 0.05, 200 + step),
            {"attribute": "name<b>", "group": name},
            definition=f"definition with {SCRIPT}",
            detail={"highest": name},
        )


def verdicts() -> tuple[Verdict, ...]:
    sel = "fairness.selection-rate."
    joint = estimate(0.36, 0.03, 15075, "simultaneous over all contrasts in scope")
    return (
        Verdict(
            gate=1,
            metric=f"{sel}ratio",
            status=Status.FAIL,
            threshold="every ratio of selection rates at least 0.8",
            reason="Female to Male is 0.360, and its joint upper limit 0.390 is below 0.8",
            estimate=joint,
            p_fail=0.0004,
            p_fail_adjusted=0.0012,
            p_pass=1.0,
            detail={"highest": "Male", "lowest": "Female"},
        ),
        Verdict(
            gate=2,
            metric="quality.performance.accuracy",
            status=Status.PASS,
            threshold="at least 0.8",
            reason="the lower limit 0.848 is above 0.8",
            estimate=estimate(0.853, 0.006, 15075, "Wilson"),
            p_fail=1.0,
            p_pass=0.00001,
        ),
        Verdict(
            gate=3,
            metric="fairness.error-rates.tpr-difference",
            status=Status.INCONCLUSIVE,
            threshold="every difference of TPR at most 0.2",
            reason="the joint interval [0.160, 0.220] holds 0.2",
            where={"attribute": "sex"},
            estimate=estimate(0.19, 0.03, 15075),
            p_fail=0.4,
            p_fail_adjusted=0.8,
            p_pass=0.2,
            n_needed=21_300,
            n_needed_at_parity=410,
            explanation="The two-sided joint interval and the one-sided pass claim use different limits.",
        ),
        Verdict(
            gate=4,
            metric="quality.calibration.ece",
            status=Status.NOT_MEASURED,
            threshold="at most 0.05 for Rare",
            reason="the group Rare has n = 7",
            where={"attribute": "race", "group": "Rare"},
        ),
        Verdict(
            gate=5,
            metric="privacy.membership.tpr",
            status=Status.NOT_REFUTED,
            threshold="at most 0.01 at a false positive rate of 0.001",
            reason="no attack succeeded",
            where={"fpr": 0.001},
            estimate=estimate(0.002, 0.001, 3000),
            on_not_refuted="accept",
        ),
        Verdict(
            gate=6,
            metric=f"{sel}rate",
            status=Status.REPORTED,
            threshold="reported, no pass mark",
            reason="the rule sets none",
            where={"attribute": "sex", "group": "Female"},
            estimate=estimate(0.2, 0.01, 4913),
        ),
        Verdict(
            gate=7,
            metric=f"{sel}difference",
            status=Status.WAIVED,
            threshold="every difference at most 0.1",
            reason="the joint lower limit 0.160 is above 0.1",
            estimate=estimate(0.19, 0.03, 15075),
            waived_from=Status.FAIL,
            waiver=f"accepted by {SCRIPT} until 2027-01-31: interim model",
        ),
    )


def plan() -> dict[str, object]:
    gates: list[dict[str, object]] = [
        {"metric": v.metric, "where": dict(v.where), "min": None, "max": None, "intersections": 1} for v in verdicts()
    ]
    gates[0]["min"], gates[1]["min"], gates[2]["max"], gates[3]["max"], gates[4]["max"] = 0.8, 0.8, 0.2, 0.05, 0.01
    gates[6]["max"] = 0.1
    return {
        "audit": {
            "name": f"Adult income {SCRIPT}",
            "seed": 7,
            "alpha": 0.05,
            "owner": "Risk office",
            "purpose": "Credit",
        },
        "target": {"kind": "sklearn", "path": "model.skops"},
        "data": {"groups": ["sex", "race"], "min_n": 30},
        "gates": gates,
        "required": ["fairness", "privacy"],
        "waivers": [{"gate": 7, "owner": SCRIPT, "expires": "2027-01-31", "reason": FORMULA}],
        "standards": ["nyc-ll144", "eu-ai-act"],
        "report": {"min_cell": 10, "formats": ["html", "json", "junit", "markdown"]},
    }


def sample_card() -> SampleCard:
    counted = [GroupCount(attribute="sex", group=g, n=n) for g, n in SEXES.items()]
    counted += [GroupCount(attribute="race", group=g, n=n) for g, n in RACES.items()]
    return SampleCard(
        source="bundled: adult",
        fingerprint="5f" * 32,
        n=15075,
        n_train=30147,
        task="binary",
        modality="tabular",
        classes=("<=50K", ">50K"),
        class_counts=(11360, 3715),
        groups=tuple(counted),
        licence="CC BY 4.0",
        notes=("3 rows without a label were dropped", SCRIPT),
    )


def failures() -> tuple[Failure, ...]:
    return (
        Failure(
            probe="quality.calibration",
            target="candidate",
            reason="the group Rare has n = 7, below 30",
            hint="more data for this group",
            metrics=("quality.calibration.ece",),
            where={"attribute": "race", "group": "Rare"},
        ),
        Failure(probe="fairness.error-rates", target="baseline/logistic", reason=f"crash: {IMAGE}", traceback="secret"),
    )


def make_record(*, full: bool = False, hostile: bool = True) -> Record:
    """The record: about 300 findings, or with `full` about 1,400, as a usual audit has at most."""
    found: list[Finding] = []
    for index, target in enumerate(TARGETS):
        found += quality(target, index)
        found += fairness(target, index, full=full)
    if hostile:
        found += hostile_findings()
    cards = tuple(
        TargetCard(
            name=name,
            role="candidate" if name == "candidate" else "reference",
            kind="sklearn" if name == "candidate" else "recipe",
            task="binary",
            fingerprint=f"{i}a" * 32,
            capabilities=("predict", "predict_proba"),
            description="Gradient boosting" if i != 1 else "Logistic regression",
            training=None
            if i == 0
            else TrainedCard(
                recipe=name,
                seed=7,
                n_train=3000,
                data="5c" * 32,
                metrics={"accuracy": 0.8712},
                curves={"loss": (0.69, 0.51, 0.44, 0.41)},
                notes=("the fit did not converge within its iterations",),
            ),
        )
        for i, name in enumerate(TARGETS)
    )
    return Record(
        plan=plan(),
        plan_digest="c0" * 32,
        targets=cards,
        sample=sample_card(),
        findings=tuple(found),
        failures=failures(),
        inapplicable=(
            Inapplicable(
                probe="robustness.autoattack", target="candidate", reason="needs gradients", missing=("gradients",)
            ),
        ),
        verdicts=verdicts(),
        uncovered=("privacy",),
        exit_code=1,
        judged=True,
        versions={"steelyard": "0.1.0", "numpy": "2.4.6"},
        evidence={},
        environment={
            "command": "steelyard run audit.yaml",
            "started": "2026-11-21T09:00:00Z",
            "hostname": "secret-host",
        },
        schema=SCHEMA,
    ).sealed()


def unjudged(record: Record) -> Record:
    return replace(record, verdicts=(), judged=False, exit_code=0, uncovered=()).sealed()
