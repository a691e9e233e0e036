"""Membership risk beside accuracy and group gaps: the strongest attack, what defences cost, and what stays open."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from steelyard.audit.record import GroupCount, Record, SampleCard, TargetCard, TrainedCard
from steelyard.audit.types import Direction, Estimate, Finding, Scalar
from steelyard.reports.render import render_bytes
from steelyard.reports.risk import draw_risk, risk
from steelyard.reports.risk_twins import ACCURACY, GAPS, apart
from steelyard.reports.scatter import Dot, Scatter, draw_scatter
from steelyard.reports.shareable import shareable

GOLDEN = Path(__file__).with_name("golden") / "risk.txt"
GAP, TPR_GAP = GAPS
PLAIN, PRIVATE, ROUNDED = "network/mlp", "private/mlp", "defended/<b>rounding</b>"
NAMES = ("candidate", PLAIN, PRIVATE, ROUNDED)
SIMPLE, SHADOW = "privacy.membership", "privacy.shadow-membership"


def estimate(value: float, half: float | None = 0.01) -> Estimate:
    low, high = (None, None) if half is None else (round(value - half, 6), round(value + half, 6))
    return Estimate(
        value=value, low=low, high=high, level=0.95, n=900, method="by hand", no_interval="" if half else "none here"
    )


def finding(metric: str, target: str, value: float, where: dict[str, Scalar] | None = None, **more: Any) -> Finding:
    half = more.pop("half", 0.01)
    return Finding(
        metric=metric, target=target, estimate=estimate(value, half), definition="d", direction=Direction.LOWER,
        ideal=0.0, probe=metric.rpartition(".")[0], probe_version=1, where=where or {}, **more,
    )  # fmt: skip


def model(name: str, *, auc: float, accuracy: float, gap: float, small: float, **more: Any) -> list[Finding]:
    """One model's findings: `auc` by RMIA, less by the loss; `gap` of accuracy, `small` the accuracy of the few."""
    groups: dict[str, Scalar] = {"of": "race", "lowest": "few", "highest": "many", "untested": "race = other"}
    found = [
        finding(ACCURACY, name, accuracy),
        finding(ACCURACY, name, 0.1, {"attribute": "race", "group": "few"}),
        finding(f"{SIMPLE}.blind-auc", name, 0.99),
        finding(f"{SIMPLE}.auc", name, auc - 0.05, {"attack": "loss"}),
        finding(f"{SHADOW}.auc", name, auc, {"attack": "rmia"}),
        finding(GAP, name, gap, {"attribute": "race"}, detail=groups),  # the joint one below is the same, and is taken
        finding(GAP, name, gap, detail=groups),
        finding(GAP, name, gap * 3, {"intersections": 2}, detail=groups),
        finding("fairness.error-rates.accuracy", name, small, {"attribute": "race", "group": "few"}),
    ]
    for fpr, factor in ((0.01, 3.0), (0.001, 1.0)):
        found.append(finding(f"{SIMPLE}.tpr", name, 0.02 * factor, {"attack": "loss", "fpr": fpr}))
        found.append(finding(f"{SHADOW}.tpr", name, 0.01 * factor, {"attack": "rmia", "fpr": fpr}))
        for attribute, size in (("race", 0.03), ("sex", 0.02)):
            where: dict[str, Scalar] = {"attack": "loss", "fpr": fpr, "attribute": attribute}
            found.append(finding(f"{SIMPLE}.group-tpr-gap", name, size * factor, where))
    return [replace(f, **more) for f in found] if more else found


MODELS = {
    NAMES[0]: {"auc": 0.70, "accuracy": 0.85, "gap": 0.06, "small": 0.80},
    PLAIN: {"auc": 0.72, "accuracy": 0.86, "gap": 0.05, "small": 0.82},
    PRIVATE: {"auc": 0.52, "accuracy": 0.80, "gap": 0.15, "small": 0.66},
    ROUNDED: {"auc": 0.71, "accuracy": 0.86, "gap": 0.05, "small": 0.82},
}


def record_of(findings: list[Finding], names: tuple[str, ...] = NAMES, few: int = 90) -> Record:
    def trained(name: str) -> TrainedCard:
        return TrainedCard(recipe=name.replace("<b>", "").replace("</b>", ""), seed=0, n_train=9, data="d")

    cards = tuple(
        TargetCard(
            name=name, role="candidate" if name == "candidate" else "reference", kind="recipe", task="binary",
            fingerprint=name, capabilities=("predict",), training=None if name == "candidate" else trained(name),
            settings={"base": "mlp"} if name.startswith("defended") else {},
        )
        for name in names
    )  # fmt: skip
    counts = (
        GroupCount(attribute="race", group="few", n=few),
        GroupCount(attribute="race", group="many", n=900 - few),
    )
    sample = SampleCard(
        source="s", fingerprint="f", n=900, n_train=900, task="binary", modality="tabular", classes=("0", "1"),
        class_counts=(450, 450), groups=counts,
    )  # fmt: skip
    return Record(
        plan={"audit": {"name": "x"}}, plan_digest="0", targets=cards, sample=sample, findings=tuple(findings),
        failures=(), inapplicable=(), verdicts=(), uncovered=(), exit_code=0, judged=False, versions={}, evidence={},
    ).sealed()  # fmt: skip


def audited(**changed: dict[str, float]) -> list[Finding]:
    """All models' findings, with those of private/mlp changed (`private`), or of any other model by its own name."""
    own = {PRIVATE if key == "private" else key: value for key, value in changed.items()}
    return [f for name, values in MODELS.items() for f in model(name, **{**values, **own.get(name, {})})]


@pytest.fixture
def record() -> Record:
    return record_of(audited())


def shown(record: Record) -> Any:
    found = risk(shareable(record))
    assert found is not None
    return found


def test_hand_case(record: Record) -> None:
    found = shown(record)
    assert (found.fpr, found.absent, found.notes) == ("0.001", (), ())
    assert found.columns == ("Accuracy difference between groups", "Membership TPR between groups")
    candidate = found.standings[0]
    assert (candidate.auc.text, candidate.auc.note) == ("0.700 [0.690, 0.710]", "rmia, shadow models")
    # at the smallest rate the loss finds more rows than RMIA does, and is the one that is shown
    assert (candidate.tpr.text, candidate.tpr.note) == ("0.020 [0.010, 0.030]", "loss")
    assert candidate.accuracy.text == "0.850 [0.840, 0.860]"
    assert [(g.text, g.note) for g in candidate.gaps] == [
        ("0.060 [0.050, 0.070]", ""),
        ("0.030 [0.020, 0.040]", "race"),
    ]
    assert candidate.tried == 2
    assert [s.dot.index for s in found.standings] == [0, 1, 2, 3]


def test_what_privacy_costs_small_groups_is_said_where_it_is_clear(record: Record) -> None:
    private, rounded = shown(record).prices
    assert (private.name, private.against) == (PRIVATE, PLAIN)
    assert private.lead == (
        "DP hurts small groups here: the accuracy difference is clearly wider, few (race) clearly worse off"
    )
    assert private.parts == (
        "membership AUC 0.520 [0.510, 0.530] against 0.720 [0.710, 0.730] (clearly lower)",
        "accuracy 0.800 [0.790, 0.810] against 0.860 [0.850, 0.870] (clearly lower)",
        "accuracy difference between groups 0.150 [0.140, 0.160] against 0.050 [0.040, 0.060] (clearly wider)",
    )
    assert (rounded.against, rounded.lead) == (PLAIN, "")  # its base is the network, and it is not private
    assert [re.search(r"\((.*)\)$", part)[1] for part in rounded.parts] == ["intervals overlap, so open"] * 3  # type: ignore[index]


@pytest.mark.parametrize(
    ("changed", "few", "lead"),
    [
        ({"gap": 0.065}, 90, "That DP hurts small groups is not shown here, nor that it does not"),
        ({"gap": 0.02}, 90, "DP narrows the accuracy difference between groups here"),
        ({"small": 0.81}, 90, "DP widens the accuracy difference between groups here"),  # the few lost nothing clearly
        ({}, 700, "DP widens the accuracy difference between groups here"),  # the worst-off group is the larger one
    ],
)
def test_what_is_said_when_it_is_not_clear(changed: dict[str, float], few: int, lead: str) -> None:
    assert shown(record_of(audited(private=changed), few=few)).prices[0].lead == lead


def test_the_other_gap_can_be_the_clear_one() -> None:
    groups = {"of": "race", "lowest": "few", "highest": "many"}
    more = []
    for name, gap, rate in ((PRIVATE, 0.30, 0.4), (PLAIN, 0.10, 0.6)):
        more.append(finding(TPR_GAP, name, gap, detail=groups))
        more.append(finding("fairness.error-rates.tpr", name, rate, {"attribute": "race", "group": "few"}))
    private = shown(record_of(audited(private={"gap": 0.055}) + more)).prices[0]
    assert (
        private.lead == "DP hurts small groups here: the TPR difference is clearly wider, few (race) clearly worse off"
    )
    assert len(private.parts) == 4


def test_a_swap_turns_the_comparison_round() -> None:
    for a, b, sign in ((0.1, 0.2, -1), (0.2, 0.1, 1), (0.1, 0.11, 0)):
        assert apart(estimate(a), estimate(b)) == sign == -apart(estimate(b), estimate(a))
    assert apart(estimate(0.1, None), estimate(0.9)) == 0


def test_without_a_plain_twin_it_says_what_is_missing() -> None:
    findings = [f for f in audited() if f.target != PLAIN]
    private, rounded = shown(record_of(findings)).prices
    assert (private.against, private.lead) == ("", "")
    assert private.parts == (
        "no plain twin of it was measured: name network/mlp among the references to see what it costs",
    )
    assert rounded.against == ""


def test_a_candidate_of_the_plain_recipe_is_the_twin_where_no_reference_is() -> None:
    record = record_of([f for f in audited() if f.target != PLAIN])
    plainly = TrainedCard(recipe=PLAIN, seed=0, n_train=9, data="d")
    own = replace(record.targets[0], training=plainly)
    assert shown(replace(record, targets=(own, *record.targets[1:]))).prices[0].against == "candidate"
    record = record_of(audited())
    own = replace(record.targets[0], training=plainly)
    found = shown(replace(record, targets=(own, *record.targets[1:]))).prices
    assert [price.against for price in found] == [PLAIN, PLAIN]


def test_other_attacks_on_other_models_are_told(record: Record) -> None:
    fewer = [f for f in record.findings if not (f.target == PRIVATE and f.metric.startswith(SHADOW))]
    first, second = shown(record_of(fewer)).notes
    assert "candidate 2, network/mlp 2, private/mlp 1" in first
    assert "not the same one" in second


def test_what_was_not_measured_has_no_place(record: Record) -> None:
    kept = [f for f in record.findings if not (f.target == PLAIN and f.metric.endswith(".auc"))]
    found = shown(record_of(kept))
    assert found.absent == (PLAIN,)
    assert [s.name for s in found.standings] == ["candidate", PRIVATE, ROUNDED]
    for lost in (
        [f for f in record.findings if f.target == "candidate"],  # nothing to stand beside
        [f for f in record.findings if f.metric != ACCURACY],
        [f for f in record.findings if not (f.target == "candidate" and f.metric.endswith(".auc"))],
    ):
        assert risk(shareable(record_of(lost))) is None
        assert 'id="risk"' not in render_bytes(record_of(lost), "html").decode()
        assert "Membership risk" not in render_bytes(record_of(lost), "markdown").decode()


def test_without_rates_or_gaps_there_are_no_such_columns(record: Record) -> None:
    bare = [f for f in record.findings if f.metric.endswith(".auc") or f.metric == ACCURACY]
    found = shown(record_of(bare))
    assert (found.fpr, found.columns) == ("", ())
    page = render_bytes(record_of(bare), "html").decode()
    assert "TPR at FPR" not in page
    assert found.standings[0].tpr.text == "–"


def test_by_attribute_the_widest_gap_and_the_same_one_of_the_twin() -> None:
    values = {PRIVATE: (0.05, 0.2), PLAIN: (0.3, 0.04), "candidate": (0.1, 0.1), ROUNDED: (0.1, 0.1)}
    findings = [f for f in audited() if f.metric != GAP]
    for name, gaps in values.items():
        for attribute, gap in zip(("sex", "race"), gaps, strict=True):
            findings.append(finding(GAP, name, gap, {"attribute": attribute}, detail={"of": attribute}))
    found = shown(record_of(findings))
    assert (found.standings[2].gaps[0].text, found.standings[2].gaps[0].note) == ("0.200 [0.190, 0.210]", "race")
    assert "0.200 [0.190, 0.210] against 0.040 [0.030, 0.050] (clearly wider)" in found.prices[0].parts[-1]


def test_what_is_withheld_is_neither_written_nor_drawn() -> None:
    """A group below the report's smallest cell: no figure of a gap that names it, and no sentence on it."""
    record = record_of(audited(), few=4)
    found = shown(record)
    assert {s.gaps[0].text for s in found.standings} == {"withheld"}
    assert len(found.prices[0].parts) == 2
    assert "few" not in found.prices[0].lead
    for name in ("html", "markdown"):
        text = render_bytes(record, name).decode()
        section = text[text.index("Membership risk against accuracy") :]
        assert "0.150 [0.140, 0.160]" not in section


def test_which_of_two_groups_is_the_smaller_is_not_told_of_a_hidden_one(record: Record) -> None:
    shared = replace(shareable(record), hidden=frozenset({("race", "many")}))
    found = risk(shared)
    assert found is not None
    assert found.prices[0].lead == "DP widens the accuracy difference between groups here"


def test_the_drawing(record: Record) -> None:
    text = draw_risk(shown(record))
    root = ET.fromstring(text)
    circle = next(root.iter("circle"))
    box = next(root.iter("rect"))  # network/mlp
    candidate = (float(circle.attrib["cx"]), float(circle.attrib["cy"]))
    plain = (float(box.attrib["x"]) + 3, float(box.attrib["y"]) + 3)
    assert plain[0] > candidate[0]  # more exposed: further right
    assert plain[1] < candidate[1]  # more accurate: higher up
    (chance,) = [p for p in root.iter("path") if p.attrib["class"] == "d"]
    assert float(re.match(r"M([\d.]+)", chance.attrib["d"])[1]) < candidate[0]  # type: ignore[index]
    assert len([p for p in root.iter("path") if p.attrib["class"].startswith("i")]) == 8  # two for each model
    assert "style=" not in text
    assert "<b>" not in text
    assert "&lt;b&gt;rounding" in text
    alone = replace(shown(record), standings=shown(record).standings[:1])
    assert draw_risk(alone) == ""


def test_points_without_intervals_and_at_one_place_are_drawn() -> None:
    dots = tuple(Dot(index=i, name=str(i), x=estimate(0.5, None), y=estimate(1.0, None)) for i in range(3))
    root = ET.fromstring(draw_scatter(Scatter(anchor="a", title="", words="", across="", up="", mark=0.5, dots=dots)))
    assert not [p for p in root.iter("path") if p.attrib["class"].startswith("i")]
    assert not [v for node in root.iter() for v in node.attrib.values() if "nan" in v or "inf" in v]


def test_it_stands_in_the_reports(record: Record) -> None:
    page = render_bytes(record, "html").decode()
    assert page.count('href="#risk"') == page.count('id="risk"') == 1
    assert page.index('id="m-privacy') < page.index('id="risk"') < page.index('id="references"')
    assert "<b>rounding" not in page
    assert " style=" not in page
    assert "favours the attacker" in page
    text = render_bytes(record, "markdown").decode()
    assert "## Membership risk against accuracy and groups" in text
    assert "<b>" not in text
    assert "**DP hurts small groups here" in text


def test_golden(record: Record) -> None:
    """The section in Markdown and in HTML, its drawing aside."""
    text = render_bytes(record, "markdown").decode()
    start = text.index("## Membership risk")
    parts = [text[start : text.index("\n## ", start + 5)]]
    page = re.sub(r"<svg.*?</svg>", "<svg></svg>", render_bytes(record, "html").decode(), flags=re.S)
    start = page.index('<section aria-labelledby="risk">')
    parts.append(re.sub(r">\s*<", ">\n<", page[start : page.index("</section>", start)]))
    found = "\n".join(parts)
    if os.environ.get("STEELYARD_UPDATE_GOLDEN"):
        GOLDEN.write_text(found, encoding="utf-8")
    assert found == GOLDEN.read_text(encoding="utf-8"), "run with STEELYARD_UPDATE_GOLDEN=1 if the change is meant"
