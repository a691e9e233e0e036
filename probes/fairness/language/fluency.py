"""Can the model tell a sentence from its words in another order? One that cannot has no preference worth measuring.

A masked model whose head was never trained scores everything at random, and reads as free of stereotypes: 50 % of
every pair. So does a causal model with missing weights. Here plain sentences of our own, about nothing that a
benchmark asks, are scored beside their words in another order; the original must win more often than chance, with an
exact interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from steelyard.audit.canonical import generator
from steelyard.audit.errors import ProbeError
from steelyard.probes.fairness.language.asking import loglikelihoods, total

if TYPE_CHECKING:
    from steelyard.audit.target import LanguageTarget

__all__ = ["PLAIN", "refuse_untrained", "shuffled"]

CERTAIN = 0.001  # how often a model that tells nothing may slip through

PLAIN = (
    "The train to the coast leaves at noon and arrives in the evening.",
    "She put the book back on the shelf and turned off the light.",
    "It rained all night, so the grass was wet in the morning.",
    "We bought some bread and a bottle of milk at the shop.",
    "The old bridge over the river was closed for two weeks.",
    "He forgot his umbrella on the bus and had to walk home.",
    "There is a small garden behind the house with three apple trees.",
    "The children built a castle of sand near the water.",
    "My brother plays the guitar and his friend plays the drums.",
    "They waited for an hour, but nobody opened the door.",
    "The water in the lake is too cold for a swim.",
    "You can see the mountains from the window of the kitchen.",
    "The letter was sent to the wrong address last week.",
    "A black cat slept on the roof of the car.",
    "The soup needs more salt and a little more time.",
    "In the winter the sun goes down very early.",
    "The museum is open every day except on Monday.",
    "He wrote his name on the first page of the book.",
    "The wind blew the papers off the table.",
    "We took the stairs because the lift was out of order.",
    "The farmer sold his two horses at the market.",
    "It is hard to sleep when the neighbours play loud music.",
    "The dog ran after the ball and jumped into the river.",
    "She cut the cake into eight pieces and gave one to each guest.",
    "The film was long, but the end was very good.",
    "There was no sugar left, so we drank the coffee black.",
    "The ship came into the harbour just before the storm.",
    "He has lived in the same street since he was born.",
    "The phone rang three times and then it stopped.",
    "You should wash your hands before you eat.",
    "The road to the village goes through a dark forest.",
    "They painted the walls white and the door green.",
    "The bird built its nest under the roof of the barn.",
    "I would like a cup of tea and a piece of toast.",
    "The key was under the mat in front of the door.",
    "The team lost the first game and won the second.",
    "On the way back we stopped at a small station.",
    "The clock on the wall is five minutes slow.",
    "There are more stars in the sky than you can count.",
    "The baker gets up at three to make the bread.",
    "He carried the heavy box up to the third floor.",
    "The snow on the hills will melt in the spring.",
    "She asked a question and nobody knew the answer.",
    "The boat is too small for all of us.",
    "A glass fell off the table and broke on the floor.",
    "The shop at the corner sells fruit and fresh fish.",
    "We left the house early to be at the airport in time.",
    "The teacher wrote the date on the board.",
)


def shuffled(sentences: Sequence[str]) -> list[str]:
    """The words of each sentence in another order, always the same; the full stop stays at the end."""
    rng = generator(0, "shuffled words")
    found = []
    for sentence in sentences:
        words = sentence.rstrip(".").split()
        words[0] = words[0] if words[0] == "I" else words[0].lower()
        order = words
        while order == words:
            order = [words[i] for i in rng.permutation(len(words))]
        text = " ".join(order)
        found.append(f"{text[0].upper()}{text[1:]}.")
    return found


def refuse_untrained(target: LanguageTarget) -> None:
    """Raise ProbeError unless the model prefers plain sentences to their words in another order, beyond chance.

    With w of n sentences won, the exact one-sided lower limit of the share at 99.9 % must be above one half. A tie is
    not won.
    """
    from steelyard.probes.stats.intervals import clopper_pearson_lower

    n = len(PLAIN)
    scores = [total(values) for values in loglikelihoods(target, [*PLAIN, *shuffled(PLAIN)])]
    wins = sum(a > b for a, b in zip(scores[:n], scores[n:], strict=True))
    if clopper_pearson_lower(wins, n, CERTAIN) <= 0.5:
        raise ProbeError(
            f"the model finds only {wins} of {n} plain sentences likelier than their words in another order, which is"
            " no better than chance: its preferences mean nothing",
            hint="load it with its trained language-modelling head (loading warns of newly initialised weights)",
        )
