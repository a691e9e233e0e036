"""Do the model's answers tell how many of its training rows were of one kind?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, cast

from steelyard.audit.errors import NotApplicable, ProbeError
from steelyard.audit.target import Groups, Probe, References, Sample, Target, TrainableTarget
from steelyard.audit.types import Capability, Data, Direction, Failure, Finding, Inapplicable, MetricSpec, Scalar, Task
from steelyard.probes.privacy.rows import take
from steelyard.probes.quality.outputs import Scribe

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["PropertyInference", "Worlds", "told_apart"]

ID = "privacy.property-inference"
ACCURACY = f"{ID}.accuracy"
SOURCE = "Ateniese et al. 2015, arXiv:1306.4447; Ganju et al. 2018, DOI 10.1145/3243734.3243834"


@dataclass(frozen=True, kw_only=True)
class PropertyInference(Probe):
    """Do the model's answers tell how many of its training rows were of one kind?

    The model's own recipe is trained again `trainings` times, each on as many of the training rows drawn at random, in
    half of the times a share `shares[0]` of them from one group, in the other half `shares[1]`. A meta-classifier
    (logistic, on the log-odds of the answers about `queries` audited rows) learns on half of these models to tell the
    two kinds of pool, and is judged on the other half: accuracy in [0, 1], .5 is chance. Ateniese et al. 2015; Ganju et
    al. 2018. It measures what the recipe gives away on data like this, since the one candidate has one true share.

    `attribute` names one of the plan's groups and `group` its level; left out, the first attribute and its level
    nearest to half of the rows. The models' pools overlap, as all come from the training rows, and the answer holds for
    these. The meta-classifier must first tell the two kinds of pool by a model that answers with the share itself,
    blurred, or this is a Failure. A candidate that cannot be trained again has no answer.
    """

    id: ClassVar[str] = ID
    requires: ClassVar[frozenset[Capability | Data]] = frozenset(
        {Capability.PREDICT_PROBA, Capability.FIT_AGAIN, Data.TRAINING}
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.MULTICLASS})
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec(
            id=ACCURACY,
            definition="share of held-out re-trainings whose pool (few or many of the group) the answers tell",
            direction=Direction.LOWER,
            ideal=0.5,
            lower=0.0,
            upper=1.0,
            source=SOURCE,
            not_shown="how finely the share can be told, and what an attack on the weights finds",
            reading="attack",
        ),
    )

    attribute: str = ""
    group: str = ""
    shares: tuple[float, float] = (0.2, 0.8)
    trainings: int = 48
    queries: int = 200
    max_rows: int = 2000
    level: float = 0.95

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield how often the pools are told apart."""
        import numpy as np

        from steelyard.probes.fairness.drawn import canonical_rows
        from steelyard.probes.stats.linearised import Design
        from steelyard.probes.stats.means import proportion

        self._check_settings()
        train = sample.training
        if train is None or train.labels is None:
            raise NotApplicable("it needs labelled training rows (data.train)")
        if not train.groups:
            raise NotApplicable("the training rows have no groups (data.groups) of which the share could be told")
        attribute, group = self._kind(train)
        rows = canonical_rows(train, rng, train.n)
        of_group = train.groups[attribute].codes[rows] == group
        worlds = Worlds.of(rows[of_group], rows[~of_group], self.shares, self.max_rows)
        asked = canonical_rows(sample, rng, self.queries)
        inputs = take(sample, asked).inputs
        first, second = np.arange(self.trainings) % 2, rng.integers(2**31, size=self.trainings)

        def control(pool: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
            share = float((train.groups[attribute].codes[pool] == group).mean())
            blurred = np.clip(share + np.random.default_rng(seed).normal(0, 0.1, len(asked)), 0.01, 0.99)
            return np.column_stack([1 - blurred, blurred])

        def candidate(pool: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
            return cast("TrainableTarget", target).fit_again(take(train, pool), seed).predict_proba(inputs)

        check = proportion(told_apart(control, worlds, first, second), Design(n=self._judged), level=self.level)
        if check.estimate.low is None or check.estimate.low <= 0.5:
            raise ProbeError(
                f"{self.trainings} trainings are too few to tell the pools of a model that answers with the share",
                hint="more trainings",
            )
        told = told_apart(candidate, worlds, first, second)
        scribe = Scribe(probe=self, target=target.name)
        levels = train.groups[attribute].levels
        where: dict[str, Scalar] = {"attribute": attribute, "group": levels[group]}
        detail: dict[str, Scalar] = {
            "control": check.estimate.value, "shares": f"{self.shares[0]:g} and {self.shares[1]:g}",
            "rows": worlds.size, "trainings": self.trainings, "queries": len(asked),
        }  # fmt: skip
        measured = proportion(told, Design(n=len(told)), level=self.level)
        yield replace(scribe.finding(ACCURACY, measured, where, detail=detail), reading="attack")

    @property
    def _judged(self) -> int:
        return self.trainings - 2 * (self.trainings // 4)

    def _check_settings(self) -> None:
        if self.trainings < 8:
            raise ProbeError(f"trainings is {self.trainings}; at least 8 are needed")
        if len(self.shares) != 2 or not 0 <= self.shares[0] < self.shares[1] <= 1:
            raise ProbeError(f"shares are {self.shares}", hint="two shares, the smaller one first")

    def _kind(self, train: Sample) -> tuple[str, int]:
        """The attribute and the code of the group whose share is guessed. ProbeError for a name that is not there."""
        import numpy as np

        attribute = self.attribute or next(iter(train.groups))
        if attribute not in train.groups:
            raise ProbeError(f"{attribute!r} is not one of the groups", hint=f"there are {', '.join(train.groups)}")
        groups: Groups = train.groups[attribute]
        if self.group:
            if self.group not in groups.levels:
                hint = f"it has {', '.join(groups.levels[:8])}"
                raise ProbeError(f"{attribute!r} has no group {self.group!r}", hint=hint)
            return attribute, groups.levels.index(self.group)
        shares = np.bincount(groups.codes, minlength=len(groups.levels)) / len(groups.codes)
        return attribute, int(np.abs(shares - 0.5).argmin())


@dataclass(frozen=True, slots=True, kw_only=True)
class Worlds:
    """Pools of `size` rows with one of two `shares` of the group: `inside` and `outside` are the rows to draw from."""

    inside: NDArray[np.int64]
    outside: NDArray[np.int64]
    shares: tuple[float, float]
    size: int

    @classmethod
    def of(
        cls, inside: NDArray[np.int64], outside: NDArray[np.int64], shares: tuple[float, float], most: int
    ) -> Worlds:
        """The largest pools that leave half of the rows of a kind out, so that two differ. ProbeError below 20."""
        size = int(min(len(inside) / (2 * shares[1]), len(outside) / (2 * (1 - shares[0])), most))
        if size < 20:
            raise ProbeError(f"{len(inside)} rows of the group and {len(outside)} others are too few for two pools")
        return cls(inside=inside, outside=outside, shares=shares, size=size)

    def draw(self, world: int, rng: Generator) -> NDArray[np.int64]:
        """A pool of the world 0 (few of the group) or 1 (many), without replacement."""
        import numpy as np

        k = round(self.shares[world] * self.size)
        parts = [rng.choice(self.inside, k, replace=False), rng.choice(self.outside, self.size - k, replace=False)]
        return np.concatenate(parts)


def told_apart(
    train: Callable[[NDArray[np.int64], int], NDArray[np.float64]],
    worlds: Worlds,
    world: NDArray[np.int64],
    seeds: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """(held-out models,) whether each one's pool is told right. `train(pool, seed)` gives (queries, classes) answers.

    `world` (models,) alternates 0 and 1. The first half, in pairs, teaches the meta-classifier; the rest is judged.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    answers = []
    for w, seed in zip(world, seeds, strict=True):
        rng = np.random.default_rng(seed)
        proba = np.clip(train(worlds.draw(int(w), rng), int(rng.integers(2**31))), 1e-4, 1.0)
        answers.append((np.log(proba) - np.log(proba[:, :1]))[:, 1:].reshape(-1))
    matrix = np.array(answers)
    taught = 2 * (len(world) // 4)
    spread = matrix[:taught].std(axis=0)
    scaled = (matrix - matrix[:taught].mean(axis=0)) / np.where(spread > 1e-12, spread, 1.0)
    meta = LogisticRegression(C=1.0 / scaled.shape[1], max_iter=1000).fit(scaled[:taught], world[:taught])
    return np.asarray(meta.predict(scaled[taught:]) == world[taught:])
