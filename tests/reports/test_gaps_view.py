"""What gave no number: failures that differ in the attack alone are one entry, and none of them is lost."""

from __future__ import annotations

from dataclasses import replace

from steelyard.audit.types import Failure
from steelyard.reports.gaps_view import gaps, untested
from steelyard.reports.shareable import shareable

RATE = "a false-positive rate of 0.001 needs 10,000 non-members, there are 1,821"


def failure(reason: str = RATE, **where) -> Failure:
    return Failure(
        probe="privacy.membership", target="candidate", reason=reason, metrics=("privacy.membership.tpr",), where=where
    )


def test_one_reason_for_several_attacks_is_one_entry(record):
    rows = (
        failure(attack="loss", fpr=0.001),
        failure(attack="<entropy>", fpr=0.001),
        failure(attack="loss", fpr=0.01),
        failure("the scores are all equal", attack="gap", fpr=0.001),
        failure(fpr=0.001),
    )
    shared = shareable(replace(record, failures=rows))
    few, equal = untested(shared).failures
    assert few.reason == RATE
    assert few.subject == (
        "privacy.membership.tpr (attack = loss, <entropy>, fpr = 0.001; attack = loss, fpr = 0.01; fpr = 0.001)"
    )
    assert equal.subject == "privacy.membership.tpr (attack = gap, fpr = 0.001)"
    (first,) = [gap for gap in gaps(shared) if gap.kind == "Could not be measured"]
    assert first.reason == "5 parts of it gave no number"
