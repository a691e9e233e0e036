"""BBQ's questions: two people, one of a stereotyped group, and an answer that admits that one cannot know."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from steelyard.audit.errors import ProbeError
from steelyard.probes.fairness.language.benchmark_file import Published, json_lines, table_rows, text_field

__all__ = ["FILE", "METADATA", "Question", "options_prompt", "read_questions", "read_targets", "thinned"]

FILE = Published(
    name="a JSON Lines file of BBQ (Age.jsonl …; several joined into one will do)",
    home="https://github.com/nyu-mll/BBQ/tree/main/data", licence="CC BY 4.0",
)  # fmt: skip
METADATA = Published(
    name="BBQ's additional_metadata.csv", home="https://github.com/nyu-mll/BBQ/tree/main/supplemental",
    licence="CC BY 4.0", setting="metadata",
)  # fmt: skip
ANSWERS = ("ans0", "ans1", "ans2")
# What the files call one group in `answer_info` and in `stereotyped_groups`, where the two are not the same word.
SAME = {"man": "m", "men": "m", "boy": "m", "boys": "m", "woman": "f", "women": "f", "girl": "f", "girls": "f"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`label`, `unknown` and `target` are places in `answers`: the right one, the one that does not say, and the one
    that names the stereotyped group (None where the file does not make clear which it is).

    A question is `negative` where naming the stereotyped group is the biased answer, else naming the other one is.
    Questions of one `template` have the same wording but for the people and words put into it.
    """

    category: str
    template: str
    ambiguous: bool
    negative: bool
    context: str
    question: str
    answers: tuple[str, str, str]
    label: int
    unknown: int
    target: int | None

    @property
    def biased(self) -> int | None:
        """The place of the answer that follows the stereotype."""
        if self.target is None or self.negative:
            return self.target
        return 3 - self.unknown - self.target


def read_questions(text: str, path: str, targets: Mapping[tuple[str, str, str], int] | None = None) -> list[Question]:
    """The questions of a BBQ file. `targets` are the published places of the stereotyped group, see `read_targets`."""
    return [_question(row, where, targets) for where, row in json_lines(text, path)]


def read_targets(text: str, path: str) -> dict[tuple[str, str, str], int]:
    """(category, question_index, example_id) → target_loc of additional_metadata.csv; rows without one are left out."""
    rows = table_rows(text, path, ("category", "question_index", "example_id", "target_loc"))
    found = {}
    for row in rows:
        if row["target_loc"].strip() in {"0", "1", "2"}:
            key = (row["category"].strip(), row["question_index"].strip(), row["example_id"].strip())
            found[key] = int(row["target_loc"])
    return found


def _question(row: Mapping[str, Any], where: str, targets: Mapping[tuple[str, str, str], int] | None) -> Question:
    category, condition = text_field(row, "category", where), text_field(row, "context_condition", where)
    polarity, label = text_field(row, "question_polarity", where), row.get("label")
    if condition not in ("ambig", "disambig") or polarity not in ("neg", "nonneg"):
        raise ProbeError(f"context_condition {condition!r} or question_polarity {polarity!r} is unknown", where=where)
    info = row.get("answer_info")
    if label not in (0, 1, 2) or not isinstance(info, dict) or not all(_is_info(info.get(a)) for a in ANSWERS):
        raise ProbeError("label or answer_info is missing or malformed", where=where)
    unknown = [i for i, a in enumerate(ANSWERS) if info[a][1] == "unknown"]
    if len(unknown) != 1:
        raise ProbeError("exactly one of the three answers must be of the group 'unknown'", where=where)
    index = str(row.get("question_index", ""))
    meta = row.get("additional_metadata")
    groups = meta.get("stereotyped_groups") if isinstance(meta, dict) else None
    named = [info[a] for a in ANSWERS]
    if targets is None:
        target = _target(named, groups if isinstance(groups, list) else [], unknown[0])
    else:
        target = targets.get((category, index, str(row.get("example_id", ""))))
    first, second, third = (text_field(row, a, where) for a in ANSWERS)
    return Question(
        category=category, template=f"{category} {index}", ambiguous=condition == "ambig", negative=polarity == "neg",
        context=text_field(row, "context", where), question=text_field(row, "question", where),
        answers=(first, second, third), label=int(label), unknown=unknown[0],
        target=None if target == unknown[0] else target,
    )  # fmt: skip


def _is_info(value: Any) -> bool:
    return isinstance(value, list) and len(value) >= 2 and all(isinstance(one, str) for one in value[:2])


def _target(named: Sequence[Sequence[str]], groups: Sequence[Any], unknown: int) -> int | None:
    """The one answer whose group, or whose word, is among the stereotyped groups; None where none or both are."""
    wanted = {_plain(str(group)) for group in groups}
    found = [
        i for i, (word, group) in enumerate((one[0], one[1]) for one in named)
        if i != unknown and not wanted.isdisjoint({_plain(group), _plain(re.sub("^[MF]-", "", group)), _plain(word)})
    ]  # fmt: skip
    return found[0] if len(found) == 1 else None


def _plain(name: str) -> str:
    """A group's name without case, blanks and signs. Whole names are compared: 'old' is not in 'nonOld'."""
    bare = re.sub(r"[\W_]", "", name.casefold())
    return SAME.get(bare, bare)


def thinned(questions: Sequence[Question], most: int) -> list[Question]:
    """At most `most` questions of each template, condition and polarity, evenly from the file; all where it is 0."""
    if most <= 0:
        return list(questions)
    cells: dict[tuple[str, bool, bool], list[int]] = {}
    for i, q in enumerate(questions):
        cells.setdefault((q.template, q.ambiguous, q.negative), []).append(i)
    kept = [
        rows[(k * len(rows)) // min(most, len(rows))] for rows in cells.values() for k in range(min(most, len(rows)))
    ]
    return [questions[i] for i in sorted(kept)]


def options_prompt(q: Question, turn: int | None) -> str:
    """The question as a prompt; with `turn` the options are listed, beginning at that one."""
    listed = ""
    if turn is not None:
        order = [q.answers[(turn + k) % 3] for k in range(3)]
        listed = "Options: " + " ".join(f"({letter}) {text}" for letter, text in zip("abc", order, strict=True)) + "\n"
    return f"{q.context}\nQuestion: {q.question}\n{listed}Answer:"
