"""Does the same sentence get another answer when only the person's identity in it is another?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from steelyard.audit.canonical import canonical_json, generator
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import (
    Capability,
    Direction,
    Evidence,
    Failure,
    Finding,
    Inapplicable,
    MetricSpec,
    Scalar,
    Task,
)
from steelyard.probes.quality.outputs import Scribe

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.fairness.templates import Templates

__all__ = ["IdentityTerms", "paired_gaps"]

ID = "fairness.identity-terms"
GAP, LARGEST = f"{ID}.gap", f"{ID}.largest-gap"
FLIPS, TERM_FLIPS = f"{ID}.flip-rate", f"{ID}.term-flip-rate"
GARG = "Garg et al. 2019, DOI 10.1145/3306618.3317950"
DIXON = "Dixon et al. 2018, DOI 10.1145/3278721.3278729"
NOT_SHOWN = "what happens in other sentences, with other terms or names, or with the way a group itself writes"


def _spec(
    metric: str, definition: str, source: str, *, direction: Direction = Direction.LOWER, lower: float = 0.0
) -> MetricSpec:
    return MetricSpec(
        id=metric, definition=definition, direction=direction, ideal=0.0, lower=lower, upper=1.0, source=source,
        not_shown=NOT_SHOWN,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class IdentityTerms(Probe):
    """Does the same sentence get another answer when only the person's identity in it is another?

    Every template ("My {term} neighbour brought us soup when we were ill.") is filled with every identity term of a
    category and put to the model. The gap of a term is the mean over templates of its score, P(positive), minus the
    mean score of all the category's terms in the same template: in [−1, 1], 0 is parity. A category's flip rate is the
    share of templates whose decision is not the same for all its terms. Garg et al. 2019 (counterfactual token
    fairness).

    The trap is to compare terms on different sentences. A sentence moves a score far more than a term does, so that the
    gap between two samples of sentences is mostly that of the sentences: it can be several times the term's own, with
    either sign. Here every term meets every template, the difference is taken within the template, and the templates
    are the independent units of every interval, however many terms and texts there are.

    48 templates of our own (pleasant, plain and unpleasant in equal parts) and 44 terms in 7 categories come along;
    `templates` names a JSON or YAML file of yours instead (`categories`: {name: [terms]}, `templates`: [sentences with
    {term}]), by a path from where the command is started. `text` names the text column; left out, it is the only input
    column of long words. A model takes it as a data frame, so a scikit-learn pipeline starts with
    ColumnTransformer([("text", TfidfVectorizer(), "text")]) or a FunctionTransformer that picks the column. Other
    inputs are held at their median or most common value. Where the inputs are texts alone (`data.text`), the model is
    given texts. The sample's rows, weights, clusters and groups play no part.
    """

    id: ClassVar[str] = ID
    requires: ClassVar[frozenset[Capability]] = frozenset({Capability.PREDICT, Capability.QUERY})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY})
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        _spec(
            GAP,
            "mean over templates of score(template with the term) − mean score of the category's terms in the template",
            f"{GARG}; {DIXON}",
            direction=Direction.NONE,
            lower=-1.0,
        ),
        _spec(LARGEST, "max over the category's terms of |gap|, the gaps paired within templates", f"{GARG}; {DIXON}"),
        _spec(FLIPS, "share of templates whose decision is not the same for all terms of the category", GARG),
        _spec(
            TERM_FLIPS,
            "share of templates in which the term's decision is not that of more than half of the category's terms",
            GARG,
        ),
    )

    files: ClassVar[tuple[str, ...]] = ("templates",)

    text: str = ""
    templates: str = ""
    draws: int = 4000
    level: float = 0.95

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield per category the largest gap and the flip rate, and per term its gap and flips."""
        import numpy as np

        from steelyard.probes.fairness.templates import SLOT, as_inputs, load_templates

        found = load_templates(self.templates)
        frame = as_inputs(
            sample, self.text, [text.replace(SLOT, term) for text in found.texts for _, term in found.every]
        )
        shape = (len(found.texts), len(found.every))
        decisions = np.asarray(target.predict(frame)).reshape(shape)
        scribe = Scribe(probe=self, target=target.name)
        scores = None
        if Capability.PREDICT_PROBA in target.capabilities:
            scores = np.asarray(target.predict_proba(frame)[:, 1]).reshape(shape)
        else:
            yield Inapplicable(
                probe=self.id, target=target.name, reason="the model gives decisions but no probabilities: no gaps",
                missing=(Capability.PREDICT_PROBA.value,), metrics=(GAP, LARGEST),
            )  # fmt: skip
        seed, start = int(rng.integers(2**53)), 0
        for category, terms in found.terms.items():
            part = slice(start, start + len(terms))
            start += len(terms)
            if scores is not None:
                yield from self._gaps(scribe, found, category, scores[:, part], generator(seed, category))
            yield from self._flips(scribe, category, terms, decisions[:, part])

    def _gaps(
        self, scribe: Scribe, found: Templates, category: str, scores: NDArray[np.float64], rng: Generator
    ) -> Iterator[Finding]:
        import numpy as np

        from steelyard.probes.stats.largest import joint_errors, largest
        from steelyard.probes.stats.linearised import Design
        from steelyard.probes.stats.means import mean, unseen

        where: dict[str, Scalar] = {"category": category}
        terms, design = found.terms[category], Design(n=len(scores))
        gaps = paired_gaps(scores)
        values, covariance = gaps.mean(axis=0), np.cov(gaps, rowvar=False) / len(gaps)
        at = int(abs(values).argmax())
        if covariance.diagonal().max() > 0:
            measured = largest(
                values, joint_errors(covariance, design.n - 1.0, self.draws, rng), level=self.level, n=design.n,
                upper=1.0, method="paired within templates, multivariate t over templates, joint over terms",
            )  # fmt: skip
        else:
            value = float(abs(values).max())
            measured = unseen(value, 1.0, design.n, design, level=self.level, lower=0.0, upper=1.0)
        detail: dict[str, Scalar] = {
            "term": terms[at], "gap": float(values[at]), "terms": len(terms), "templates_digest": found.digest[:12],
        }  # fmt: skip
        table = {"templates": found.texts, "terms": terms, "scores": scores.tolist()}
        evidence = Evidence(name="identity-terms", kind="json", data=canonical_json(table))
        yield scribe.finding(LARGEST, measured, where, detail=detail, evidence=(evidence,))
        for j, term in enumerate(terms):
            own = mean(gaps[:, j], design, level=self.level, lower=-1.0, upper=1.0)
            yield scribe.finding(GAP, own, {**where, "term": term})

    def _flips(
        self, scribe: Scribe, category: str, terms: tuple[str, ...], decisions: NDArray[np.int64]
    ) -> Iterator[Finding]:
        from steelyard.probes.stats.linearised import Design
        from steelyard.probes.stats.means import proportion

        where: Mapping[str, Scalar] = {"category": category}
        design = Design(n=len(decisions))
        differ = (decisions != decisions[:, :1]).any(axis=1)
        yield scribe.finding(FLIPS, proportion(differ, design, level=self.level), where, detail={"terms": len(terms)})
        positive = decisions.sum(axis=1)
        for j, term in enumerate(terms):
            own = decisions[:, j] == 1
            other = (~own & (2 * positive > len(terms))) | (own & (2 * positive < len(terms)))
            yield scribe.finding(TERM_FLIPS, proportion(other, design, level=self.level), {**where, "term": term})


def paired_gaps(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(templates, terms): each score minus the mean of its template. Differences of less than 1e-12 are none."""
    import numpy as np

    gaps = scores - scores.mean(axis=1, keepdims=True)
    return np.where(np.abs(gaps) < 1e-12, 0.0, gaps)  # or the rounding of a mean would pass for a spread
