"""WinoBias' sentences: two occupations, a pronoun, and which of the two it stands for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from steelyard.audit.errors import ProbeError
from steelyard.probes.fairness.language.benchmark_file import Published, lines_of

__all__ = ["FEMALE", "MALE", "Sentence", "paired", "published", "read_sentences"]

# The forty occupations of the benchmark, by which sex most of those who had them in the United States were (Zhao et al.
# 2018, from the Bureau of Labor Statistics).
FEMALE = (
    "attendant", "cashier", "teacher", "nurse", "assistant", "secretary", "auditor", "cleaner", "receptionist", "clerk",
    "counselor", "designer", "hairdresser", "writer", "housekeeper", "baker", "accountant", "editor", "librarian",
    "tailor",
)  # fmt: skip
MALE = (
    "driver", "supervisor", "janitor", "cook", "mover", "laborer", "construction worker", "chief", "developer",
    "carpenter", "manager", "lawyer", "farmer", "salesperson", "physician", "guard", "analyst", "mechanic", "sheriff",
    "CEO",
)  # fmt: skip
PRONOUNS = {
    "he": "m", "him": "m", "his": "m", "himself": "m", "she": "f", "her": "f", "hers": "f", "herself": "f",
}  # fmt: skip
_BRACKET = re.compile(r"\[\s*([^\]]*?)\s*\]")
_OCCUPATION = re.compile(rf"\b({'|'.join(sorted((*FEMALE, *MALE), key=len, reverse=True))})\b", re.IGNORECASE)
_NAMES = {name.casefold(): name for name in (*FEMALE, *MALE)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """`text` without brackets; `right` is the occupation that `pronoun` stands for, `wrong` the other one."""

    text: str
    pronoun: str
    right: str
    wrong: str

    @property
    def frame(self) -> str:
        """The sentence with its pronouns and articles taken out: what a pair has in common."""
        words = re.findall(r"[a-z]+", self.text.casefold())
        return " ".join("_" if w in PRONOUNS else w for w in words if w not in {"the", "a", "an"})

    @property
    def pro(self) -> bool:
        """Whether the pronoun is of the sex that most people of the right occupation have."""
        return (PRONOUNS[self.pronoun] == "f") == (self.right in FEMALE)


def published(setting: str) -> Published:
    """What one of the four files is called, and where it is."""
    side, kind = setting.split("_")
    return Published(
        name=f"WinoBias' {side}_stereotyped_{kind}.txt.dev or .test",
        home="https://github.com/uclanlp/corefBias/tree/master/WinoBias/wino/data", licence="MIT", setting=setting,
    )  # fmt: skip


def read_sentences(text: str, path: str) -> list[Sentence | None]:
    """The numbered lines of a file; None for one that does not make clear who is meant. Raises ProbeError."""
    found = [_sentence(line, f"{path}:{number}") for number, line in lines_of(text)]
    if not any(found):
        raise ProbeError(f"{path} has no sentence with two occupations and a pronoun in brackets")
    return found


def _sentence(line: str, where: str) -> Sentence | None:
    line = re.sub(r"^\d+\s+", "", line)
    marked = _BRACKET.findall(line.replace("[the [", "[").replace("the [the", "[the"))
    pronouns = [word.casefold() for word in marked if word.casefold() in PRONOUNS]
    named = [
        _NAMES[m.casefold()] for word in marked if word.casefold() not in PRONOUNS for m in _OCCUPATION.findall(word)
    ]
    if not marked:
        raise ProbeError("a line without brackets around an occupation and a pronoun", where=where)
    text = re.sub(r"\s+", " ", line.replace("[", "").replace("]", "")).strip()
    others = {_NAMES[m.casefold()] for m in _OCCUPATION.findall(text)} - set(named)
    if not pronouns or len(set(named)) != 1 or len(others) != 1:
        return None
    return Sentence(text=text, pronoun=pronouns[0], right=named[0], wrong=others.pop())


def paired(
    pro: Sequence[Sentence | None], anti: Sequence[Sentence | None], where: str
) -> list[tuple[Sentence, Sentence]]:
    """The pairs of lines that are one sentence with the pronoun of the other sex. Raises ProbeError where files differ.

    The published files have a few lines whose two sides are not the same sentence; they are left out.
    """
    if len(pro) != len(anti):
        raise ProbeError(f"the pro file has {len(pro)} lines and the anti file {len(anti)}", where=where)
    found = [
        (a, b)
        for a, b in zip(pro, anti, strict=True)
        if a and b and a.right == b.right and a.frame == b.frame and a.pro and not b.pro
    ]
    if 2 * len(found) < len(pro):
        raise ProbeError(f"only {len(found)} of {len(pro)} lines are pairs", where=where, hint="name files of one part")
    return found
