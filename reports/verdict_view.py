"""Verdicts and banners: what stands first in a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from steelyard.audit.record import Record
from steelyard.audit.types import Status, Verdict
from steelyard.reports.details import detail_facts
from steelyard.reports.findings_view import anchor_of, breadth, full_name
from steelyard.reports.numbers import count, estimate_text, p_value, percent
from steelyard.reports.sections import Banner, Count, Fact, GateRow, Headline
from steelyard.reports.shareable import WITHHELD, Shareable
from steelyard.reports.text import describe_where, guard
from steelyard.reports.words import EXIT_MEANING, STATUS_WORD, UNJUDGED

__all__ = ["banners", "exit_meaning", "gates", "headline"]

_SENTENCE = {
    Status.FAIL: "failed",
    Status.INCONCLUSIVE: "inconclusive",
    Status.NOT_MEASURED: "not measured",
    Status.NOT_REFUTED: "not refuted",
    Status.WAIVED: "waived",
    Status.REPORTED: "reported only",
    Status.PASS: "passed",
}
_ORDER = tuple(_SENTENCE)


def headline(shared: Shareable) -> Headline:
    """The answer in one sentence: "2 of 5 gates failed, 1 inconclusive; required family not measured: privacy."."""
    record = shared.record
    tally = Counter(v.status for v in record.verdicts)
    total = len(record.verdicts)
    gate = "gate" if total == 1 else "gates"
    if not record.judged:
        sentence, tone = "Measured, not judged: the plan states no gates.", "none"
    elif total and tally[Status.PASS] == total:
        sentence, tone = ("The gate passed" if total == 1 else f"All {total} gates passed"), "good"
    else:
        named = [(s, tally[s]) for s in _ORDER if tally[s]]
        parts = [
            f"{n} of {total} {gate} {_SENTENCE[s]}" if i == 0 else f"{n} {_SENTENCE[s]}"
            for i, (s, n) in enumerate(named)
        ]
        sentence = ", ".join(parts)
        tone = {0: "good", 1: "bad", 4: "bad"}.get(record.exit_code, "open")
    if record.judged and record.uncovered:
        word = "family" if len(record.uncovered) == 1 else "families"
        sentence += f"; required {word} not measured: {', '.join(guard(u) for u in record.uncovered)}"
        tone = "bad"
    return Headline(
        tone=tone,
        sentence=sentence.rstrip(".") + ".",
        counts=tuple(Count(status=s, word=STATUS_WORD[s], n=tally[s]) for s in _ORDER if tally[s]),
        exit_code=record.exit_code,
        exit_meaning=exit_meaning(record),
    )


def exit_meaning(record: Record) -> str:
    """The exit code in words; an audit without gates has passed none."""
    if record.exit_code == 0 and not record.judged:
        return UNJUDGED
    return EXIT_MEANING.get(record.exit_code, "unknown to this version")


def banners(shared: Shareable) -> tuple[Banner, ...]:
    """What changes how everything else reads."""
    record = shared.record
    found = []
    if not record.judged:
        text = "No tolerance was stated before the run, so this report draws no conclusion from any number in it."
        found.append(Banner(title="Measured, not judged", text=text))
    if record.exploratory or any(v.exploratory for v in record.verdicts):
        why = guard(record.exploratory) or "thresholds were changed after the run"
        text = f"{why[:1].upper()}{why[1:]}. A threshold chosen after the results are known carries no error rate."
        found.append(Banner(title="Exploratory verdicts", text=text))
    names = [guard(str(s)) for s in record.plan.get("standards") or ()]
    if names:
        text = f"Named in the plan, not evaluated by this version: {', '.join(names)}. Nothing here speaks for them."
        found.append(Banner(title="Standards", text=text))
    return tuple(found)


def gates(shared: Shareable) -> tuple[GateRow, ...]:
    """Every gate with its verdict, in the plan's order."""
    measured = {f.metric for f in shared.record.findings}
    return tuple(_gate(shared, v, measured) for v in shared.record.verdicts)


def _gate(shared: Shareable, v: Verdict, measured: set[str]) -> GateRow:
    estimate = shared.verdict_estimate(v)
    withheld = shared.withholds(v)
    text = WITHHELD if withheld else "No figure" if estimate is None else estimate_text(estimate)
    return GateRow(
        number=v.gate,
        status=v.status,
        word=STATUS_WORD[v.status],
        metric=guard(v.metric),
        name=full_name(v.metric),
        anchor=anchor_of(v.metric) if v.metric in measured else "",
        where=_gate_where(shared, v),
        threshold=guard(v.threshold),
        estimate=text,
        method="" if estimate is None else guard(estimate.method),
        reason=_sentence(_mask(shared, v.reason, v, withheld=withheld)),
        explanation=_mask(shared, v.explanation, v, withheld=withheld),
        facts=_gate_facts(shared, v, withheld=withheld),
        waiver=guard(v.waiver),
        exploratory=v.exploratory,
    )


def _gate_where(shared: Shareable, v: Verdict) -> str:
    """Where a gate looks; "" where the metric has no findings to tell (its threshold says it then)."""
    plan = shared.record.plan.get("gates")
    entry = plan[v.gate - 1] if isinstance(plan, (list, tuple)) and len(plan) >= v.gate else {}
    where = dict(v.where)
    if isinstance(entry, Mapping) and entry.get("intersections", 1) != 1 and not where:
        where["intersections"] = entry["intersections"]
    place = describe_where(where) if where else breadth(shared, v.metric)
    versus = f"against {guard(v.versus)}" if v.versus and "versus" not in v.where else ""
    return ", ".join(part for part in (place, versus) if part)


def _mask(shared: Shareable, text: str, v: Verdict, *, withheld: bool) -> str:
    if withheld:
        return "The figures rest on a group too small to show; the run folder's record.json holds them." if text else ""
    return guard(shared.text(text, v.where))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _gate_facts(shared: Shareable, v: Verdict, *, withheld: bool) -> tuple[Fact, ...]:
    if withheld:
        return ()
    facts = []
    if v.estimate is not None:
        if shared.shows_n(v.metric):
            facts.append(Fact(label="n", value=count(v.estimate.n)))
        facts.append(Fact(label="level of the interval", value=percent(v.estimate.level)))
    if v.p_fail is not None or v.p_pass is not None:
        adjusted = f" (after Holm {p_value(v.p_fail_adjusted)})" if v.p_fail_adjusted is not None else ""
        facts.append(Fact(label="p of the fail claim", value=p_value(v.p_fail) + adjusted))
        facts.append(Fact(label="p of the pass claim", value=p_value(v.p_pass)))
    if v.status is Status.INCONCLUSIVE or v.n_needed is not None:
        needed = "undecidable at the boundary" if v.n_needed is None else f"{count(v.n_needed)} per group"
        facts.append(Fact(label="rows needed if the estimate were the truth", value=needed))
    if v.n_needed_at_parity is not None:
        facts.append(Fact(label="rows needed if there were no gap", value=f"{count(v.n_needed_at_parity)} per group"))
    if v.status is Status.INCONCLUSIVE:
        facts.append(Fact(label="policy for inconclusive", value=v.on_inconclusive))
    if v.status is Status.NOT_REFUTED:
        facts.append(Fact(label="policy for not refuted", value=v.on_not_refuted))
    if v.waived_from is not None:
        facts.append(Fact(label="verdict without the waiver", value=STATUS_WORD[v.waived_from].lower()))
    facts += [Fact(label=label, value=value) for label, value in detail_facts(shared.detail(v.detail, v.where))]
    return tuple(facts)
