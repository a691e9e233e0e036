"""The fixed words of a report: what the seven verdicts, the exit codes and the access levels mean."""

from __future__ import annotations

from steelyard.audit.types import Capability, Status

__all__ = [
    "ABILITIES",
    "ALWAYS_OPEN",
    "EXIT_MEANING",
    "FAMILY_TITLES",
    "INTERVALS",
    "MISSING_ACCESS",
    "PROCEDURES",
    "STATUS_MEANING",
    "STATUS_SIGN",
    "STATUS_WORD",
    "UNJUDGED",
]

STATUS_WORD: dict[Status, str] = {
    Status.PASS: "Pass",
    Status.FAIL: "Fail",
    Status.INCONCLUSIVE: "Inconclusive",
    Status.NOT_MEASURED: "Not measured",
    Status.NOT_REFUTED: "Not refuted",
    Status.REPORTED: "Reported",
    Status.WAIVED: "Waived",
}

# A plain sign beside each word, for formats without drawings; never alone.
STATUS_SIGN: dict[Status, str] = {
    Status.PASS: "✓",
    Status.FAIL: "✗",
    Status.INCONCLUSIVE: "?",
    Status.NOT_MEASURED: "∅",
    Status.NOT_REFUTED: "~",
    Status.REPORTED: "i",
    Status.WAIVED: "w",
}

STATUS_MEANING: dict[Status, str] = {
    Status.PASS: "The data show, at the stated error rate, that the tolerance holds everywhere the gate looks.",
    Status.FAIL: "The data show, at the stated error rate, that the tolerance is broken somewhere the gate looks.",
    Status.INCONCLUSIVE: "The data show neither. It is not a pass: more rows, or a decision by a person, are needed.",
    Status.NOT_MEASURED: "No honest number came out, because something crashed or the data did not allow it.",
    Status.NOT_REFUTED: "An attack was tried and did not succeed. Attacks cannot prove safety, so it is not a pass.",
    Status.REPORTED: "A disclosure without a pass mark: the number is stated, nothing is claimed about it.",
    Status.WAIVED: "The gate did not pass, and a named person accepted that until the date shown.",
}

EXIT_MEANING: dict[int, str] = {
    0: "every gate passed, or what did not is accepted by the plan",
    1: "at least one gate failed",
    2: "the plan or the call is wrong",
    3: "at least one gate needs a person's review",
    4: "incomplete: something required crashed or was not measured",
    5: "the record failed its integrity check",
}

UNJUDGED = "nothing was judged, which is not a pass"

FAMILY_TITLES: dict[str, str] = {
    "quality": "Quality",
    "fairness": "Fairness",
    "robustness": "Robustness",
    "privacy": "Privacy",
    "explainability": "Explainability",
    "systemic": "Systemic",
}

# What a model can do, by capability. The candidate's decide which probes fit.
ABILITIES: dict[str, str] = {
    Capability.PREDICT: "decides",
    Capability.PREDICT_PROBA: "gives probabilities",
    Capability.QUERY: "answers other inputs too",
    Capability.LOGITS: "gives raw scores (logits)",
    Capability.GRADIENTS: "gives gradients",
    Capability.EMBED: "gives embeddings",
    Capability.LOGLIKELIHOOD: "scores text",
    Capability.GENERATE: "writes text",
    Capability.FIT_AGAIN: "can be trained again",
}

# What the audit could not look at, by the capability the target did not offer.
MISSING_ACCESS: dict[str, str] = {
    Capability.PREDICT_PROBA: "No scores were available: calibration, ranking and other thresholds cannot be judged.",
    Capability.GRADIENTS: "No gradients were available: the strongest attacks, which use them, were not possible.",
    Capability.FIT_AGAIN: "The model could not be trained again: how much its results owe to the luck of one training"
    " run, and what its training data give away, cannot be fully known.",
}

ALWAYS_OPEN: tuple[str, ...] = (
    "The labels were taken as the truth; an audit of decisions cannot show that the recorded outcomes are fair.",
    "The figures hold for people like those in the test data, at the time it was collected.",
)

INTERVALS = (
    "A figure such as 0.172 [0.160, 0.185] is the estimate with its interval: at the stated level, the procedure that"
    " made the interval covers the true value that often. Comparisons between groups carry simultaneous intervals:"
    " the level holds for all the comparisons of that row together, so looking at the widest gap costs nothing."
    " Each group's own rate carries an interval of its own."
)

PROCEDURES: tuple[str, ...] = (
    "Fail and pass are two separate claims, each with its own error rate. A gate fails only if the joint interval,"
    " which accounts for all comparisons, lies beyond the tolerance. A gate passes only if every single comparison,"
    " each by its own one-sided score limit, is shown to be within it. If neither can be"
    " shown, the gate is inconclusive.",
    "So a verdict may seem to disagree with the printed interval: the interval is two-sided and joint, the pass claim"
    " is one-sided and made comparison by comparison. Where that happens the gate says so.",
    "The rows needed are per group, for a decision at 80 % power if the estimate were the truth.",
)
