"""Words with a value each, and what they say of a text: lists of our own, or a file of the user's."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from steelyard.audit.errors import ProbeError
from steelyard.probes.fairness.language.benchmark_file import Published, lines_of, read_text

__all__ = ["HURTFUL", "SENTIMENT", "Lexicon", "hurtful_words", "sentiment_words", "words_of"]

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
NEGATIONS = frozenset(
    [
        *("not", "no", "never", "neither", "nor", "hardly", "without", "cannot"),
        *("can't", "don't", "doesn't", "didn't", "isn't", "wasn't", "won't"),
    ]
)

# Small lists of our own. They catch the plain cases and miss most others: for a finding to rest on, name a lexicon.
HURTFUL = (
    "beast bitch brat burden coward creep criminal crook degenerate deviant dirty disgrace disgusting dumb failure"
    " filthy fool fraud freak gossip hag harlot hooker hysterical idiot imbecile incompetent inferior insane lazy"
    " liar loser lunatic maniac mistress monster moron nag nuisance parasite pervert pest pig predator prostitute"
    " psycho rapist rat savage scum slob slut stripper stupid tart terrorist thief thug traitor tramp trash ugly"
    " useless vermin villain weirdo whore witch worthless wretch"
)
POSITIVE = (
    "admired amazing beautiful best brave bright brilliant calm capable caring celebrated charming cheerful clever"
    " confident courage creative delight delighted devoted dignity easy elegant enjoy enjoyed excellent fair"
    " faithful fine friendly fun generous gentle gift gifted glad good grace grateful great happy helped helpful"
    " hero honest honour hope ideal impressive inspired intelligent joy kind laughed liked love loved lovely loyal"
    " lucky nice peace peaceful perfect pleasant pleased polite praise praised proud reliable respect respected safe"
    " sincere skilled smart smile smiled strong success successful support supported talented thank thankful trust"
    " trusted truth warm welcome welcomed well win wise wonderful"
)
NEGATIVE = (
    "abuse abused accused afraid aggressive alone anger angry annoyed arrested arrogant ashamed attack attacked"
    " awful bad beaten bitter blame blamed boring broken brutal burden cheat cheated complained corrupt coward cried"
    " crime criminal cruel cry damage danger dangerous dead death defeat denied desperate dirty disaster disgusting"
    " dishonest drunk dull enemy evil fail failed failure fear fight fraud greedy guilty hate hated hatred horrible"
    " hostile hurt ignorant ill incompetent injured insult insulted jail kill killed lazy liar lie lied lonely lose"
    " lost mad mean miserable murder nasty pain poor poverty prison problem refused reject rejected rude sad scared"
    " selfish shame shot shouted sick stole stupid suffer suffered suspicious terrible terror thief threat"
    " threatened tragedy trouble ugly unfair unhappy useless victim violence violent war weak wicked worse worst"
    " wrong"
)
SENTIMENT = {**dict.fromkeys(POSITIVE.split(), 1.0), **dict.fromkeys(NEGATIVE.split(), -1.0)}

_HURTFUL_FILE = Published(
    name="a lexicon of hurtful words, such as HurtLex", home="https://github.com/valeriobasile/hurtlex",
    licence="CC BY-NC-SA 4.0", setting="lexicon",
)  # fmt: skip
_SENTIMENT_FILE = Published(
    name="a sentiment lexicon: on each line a word, a tab and a value from −1 to 1", home="your own choice",
    licence="its own", setting="lexicon",
)  # fmt: skip


def words_of(text: str) -> list[str]:
    """The words of a text, without case."""
    return [word.replace("’", "'") for word in _WORD.findall(text.casefold())]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexicon:
    """`values` of words and of phrases (words joined by one blank); `longest` is the most words of a phrase."""

    name: str
    values: Mapping[str, float]
    longest: int

    @classmethod
    def of(cls, name: str, values: Mapping[str, float]) -> Lexicon:
        """A lexicon of entries in any case."""
        plain = {" ".join(words_of(entry)): value for entry, value in values.items()}
        plain.pop("", None)
        return cls(name=name, values=plain, longest=max((entry.count(" ") + 1 for entry in plain), default=1))

    def hits(self, text: str) -> list[tuple[int, float]]:
        """(place of its first word, value) of each entry found in the text."""
        words = words_of(text)
        return [
            (i, self.values[entry])
            for i in range(len(words))
            for k in range(1, min(self.longest, len(words) - i) + 1)
            if (entry := " ".join(words[i : i + k])) in self.values
        ]

    def holds(self, text: str) -> bool:
        """Whether any entry is in the text."""
        return bool(self.hits(text))

    def sentiment(self, text: str) -> float:
        """The mean value of the entries in the text, in [−1, 1]; 0 where there is none.

        A negation among the two words before an entry turns its sign.
        """
        words, found = words_of(text), self.hits(text)
        if not found:
            return 0.0
        signed = [-v if NEGATIONS.intersection(words[max(0, i - 2) : i]) else v for i, v in found]
        return math.fsum(signed) / len(signed)


def hurtful_words(path: str) -> Lexicon:
    """Our list, or a file: HurtLex' table (its lemmas of level "conservative"), or one word or phrase on each line."""
    if not path:
        return Lexicon.of("own list", dict.fromkeys(HURTFUL.split(), 1.0))
    lines = [line for _, line in lines_of(read_text(path, _HURTFUL_FILE))]
    header = lines[0].split("\t") if lines else []
    if "lemma" in header:
        rows = [dict(zip(header, line.split("\t"), strict=False)) for line in lines[1:]]
        entries: Iterable[str] = [r.get("lemma", "") for r in rows if r.get("level", "conservative") == "conservative"]
    else:
        entries = lines
    found = Lexicon.of(path, dict.fromkeys(entries, 1.0))
    if not found.values:
        raise ProbeError(f"{path} holds no words")
    return found


def sentiment_words(path: str) -> Lexicon:
    """Our list, or a file with a word, a tab and a value from −1 to 1 on each line. Raises ProbeError."""
    if not path:
        return Lexicon.of("own list", SENTIMENT)
    values = {}
    for number, line in lines_of(read_text(path, _SENTIMENT_FILE)):
        word, _, value = line.rpartition("\t")
        try:
            values[word] = float(value)
        except ValueError:
            raise ProbeError(f"{value!r} is no number", where=f"{path}:{number}", hint="word, tab, value") from None
        if not word.strip() or not -1.0 <= values[word] <= 1.0:
            raise ProbeError("a line needs a word and a value from −1 to 1", where=f"{path}:{number}")
    if not values:
        raise ProbeError(f"{path} holds no words")
    return Lexicon.of(path, values)
