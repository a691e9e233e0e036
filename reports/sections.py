"""The nouns of a report, as plain as a template can take them: already suppressed, worded and formatted.

Strings here are text, not markup: each format escapes them in its own way.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from steelyard.audit.types import Status

__all__ = [
    "Banner",
    "Cell",
    "Count",
    "Curve",
    "CurvePoint",
    "Exposed",
    "Fact",
    "Family",
    "Gap",
    "GateRow",
    "Glance",
    "GroupTable",
    "Headline",
    "Line",
    "Mark",
    "Metric",
    "Part",
    "Question",
    "RocCurve",
    "Row",
    "Scope",
    "Table",
    "Untested",
    "Waiver",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A label and its value; `code` sets the value in a fixed-width face."""

    label: str
    value: str
    code: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many gates have one status."""

    status: Status
    word: str
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The answer in one sentence. `tone` is good, bad, open or none."""

    tone: str
    sentence: str
    counts: tuple[Count, ...]
    exit_code: int
    exit_meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """A statement that changes how everything below it reads."""

    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Something the audit does not cover, with the reason."""

    kind: str
    subject: str
    reason: str
    hint: str = ""
    more: bool = False  # the section on what was not tested says more
    parts: tuple[str, ...] = ()  # what the subject counts, named one by one; empty where the subject names it


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRow:
    """One gate and its verdict."""

    number: int
    status: Status
    word: str
    metric: str
    name: str
    anchor: str  # "" where the metric has no section
    where: str
    threshold: str
    estimate: str
    method: str
    reason: str
    explanation: str
    facts: tuple[Fact, ...]
    waiver: str
    exploratory: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTable:
    """The rows of each group of one attribute."""

    attribute: str
    rows: tuple[tuple[str, str, str], ...]  # group, rows, share


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What was audited, on what, and what that cannot establish."""

    facts: tuple[Fact, ...]
    targets: tuple[tuple[str, str, str, str, str], ...]  # name, role, kind, description, can do
    groups: tuple[GroupTable, ...]
    notes: tuple[str, ...]
    cannot: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A failure accepted by a named person until a date."""

    gate: str
    owner: str
    expires: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One estimate in a chart; `target` indexes the metric's columns. `counted`: it is a count, a whole number."""

    target: int
    value: float
    low: float | None
    high: float | None
    counted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One estimate in a table: the figure with its interval, n, and what stands beside it."""

    text: str
    n: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One group (or class, severity …), with a cell for each column."""

    label: str
    cells: tuple[Cell, ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Rows that belong together: overall, the groups of one attribute, an intersection."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A reference line of a chart: a gate's limit or the ideal."""

    value: float
    label: str
    kind: str  # "limit" or "ideal"


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One bin of a reliability curve."""

    score: float
    rate: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A reliability curve of one target, overall or of one group."""

    target: str
    where: str
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RocCurve:
    """One attack's curve: `points` are (false positive rate, true positive rate)."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """The records that one attack finds first; no columns where the evidence is lost, and `lead` then says so."""

    attack: str
    lead: str
    means: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric id with all that was measured under it."""

    id: str
    name: str
    anchor: str
    definition: str
    direction: str
    not_shown: str
    level: str
    methods: tuple[str, ...]
    columns: tuple[str, ...]
    parts: tuple[Part, ...]
    lines: tuple[Line, ...]
    gates: tuple[tuple[int, Status, str], ...]  # gate number, status, word
    curves: tuple[Curve, ...] = ()
    curve_note: str = ""
    rocs: tuple[RocCurve, ...] = ()
    exposed: tuple[Exposed, ...] = ()  # the attack that finds most first
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> tuple[Cell, ...] | None:
        """The cells of the broadest row, where there is one for the whole sample or all attributes jointly."""
        for part in self.parts:
            for row in part.rows:
                if part.title in ("Overall", "Comparisons") and row.label in ("all rows", "all attributes jointly"):
                    return row.cells
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table that a probe laid out. The first `labels` columns name the row."""

    title: str
    columns: tuple[str, ...]
    labels: int
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """One row of a question's table at a glance."""

    name: str
    anchor: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What one probe asks: its metrics."""

    id: str
    title: str
    columns: tuple[str, ...]
    glance: tuple[Glance, ...]
    metrics: tuple[Metric, ...]
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family of questions."""

    id: str
    title: str
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Untested:
    """What was not tested, and why: failures, probes that do not fit, groups too small. The references' stand apart."""

    failures: tuple[Gap, ...] = ()
    inapplicable: tuple[Gap, ...] = ()
    reference_failures: tuple[Gap, ...] = ()
    reference_inapplicable: tuple[Gap, ...] = ()
    of_references: str = ""  # how many they are, in words
    groups: tuple[Gap, ...] = ()
    suppression: str = ""
    withheld: tuple[str, ...] = field(default=())
