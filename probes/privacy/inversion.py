"""Does what the model takes for typical of a class look like a picture it was trained on?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from steelyard.audit.canonical import generator
from steelyard.audit.errors import NotApplicable, ProbeError
from steelyard.audit.target import NetworkTarget, Probe, References, Sample, Target
from steelyard.audit.types import (
    Capability,
    Data,
    Direction,
    Failure,
    Finding,
    Inapplicable,
    MetricSpec,
    Modality,
    Scalar,
    Task,
)
from steelyard.probes.quality.outputs import Scribe

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["ModelInversion", "Slope", "invert", "nearness", "shapes_of"]

ID = "privacy.inversion"
CLOSENESS = f"{ID}.closeness"
FREDRIKSON = "Fredrikson et al. 2015, DOI 10.1145/2810103.2813677"

Slope = Callable[[Any, "NDArray[np.int64]"], "NDArray[np.float64]"]  # (n, …) images, (n,) labels → gradients like them


@dataclass(frozen=True, kw_only=True)
class ModelInversion(Probe):
    """Does what the model takes for typical of a class look like a picture it was trained on?

    From `restarts` grey, noisy pictures for each class the cross-entropy at the class is descended, `steps` steps of
    the length `step` of the gradient made one long, within the range of the pixels (Fredrikson et al. 2015). With d the
    distance of a reconstruction to the nearest picture of its class, brightness and contrast taken out, closeness is
    (d_other − d_training) / (d_other + d_training): in [−1, 1]; 1 is a training picture itself, 0 is as near to
    pictures that the model never saw, as many of which are looked at. Classes are the independent units of the
    interval, so that it is wide where there are few.

    The same search must first find pictures in a model that holds one of each class by heart, or this is a Failure.
    """

    id: ClassVar[str] = ID
    requires: ClassVar[frozenset[Capability | Data]] = frozenset({Capability.GRADIENTS, Data.LABELS, Data.TRAINING})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.MULTICLASS})
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec(
            id=CLOSENESS,
            definition="mean over reconstructions of (d_other − d_training) / (d_other + d_training), d the distance to"
            " the nearest picture of the class among as many others and training pictures",
            direction=Direction.LOWER,
            ideal=0.0,
            lower=-1.0,
            upper=1.0,
            source=FREDRIKSON,
            not_shown="what a stronger search finds, with a generator of pictures or with many more steps",
            reading="attack",
        ),
    )

    restarts: int = 4
    steps: int = 100
    step: float = 0.5
    max_images: int = 200
    level: float = 0.95

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield the closeness over all classes that both tables have."""
        import numpy as np

        from steelyard.probes.stats.linearised import Design
        from steelyard.probes.stats.means import mean

        if sample.modality is not Modality.IMAGE:
            raise NotApplicable("it reconstructs pictures, and the inputs are none")
        train = sample.training
        if train is None or train.labels is None or sample.labels is None:
            raise NotApplicable("it needs labelled training rows")
        seed = int(rng.integers(2**53))
        own, other = pictures(train, sample, generator(seed, "pictures"), self.max_images)
        if len(own) < 2:
            raise ProbeError("fewer than two classes have pictures in both tables: there is no second unit")
        scribe = Scribe(probe=self, target=target.name)
        kept = {label: images[0] for label, images in own.items()}

        def by_heart(images: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
            return np.asarray(images - np.stack([kept[int(label)] for label in labels]))

        found = {}
        for name, slope in (("control", by_heart), ("candidate", cast("NetworkTarget", target).gradients)):
            labels = np.repeat(np.array(sorted(own)), self.restarts)
            start = starts(own, labels, generator(seed, "starts"))
            made = invert(slope, start, labels, steps=self.steps, step=self.step)
            values = np.array([nearness(x, own[int(c)], other[int(c)]) for x, c in zip(made, labels, strict=True)])
            design = Design(n=len(values), clusters=labels)
            found[name] = mean(values, design, level=self.level, lower=-1.0, upper=1.0)
            limit = found[name].estimate.low
            if name == "control" and (limit is None or limit <= 0):
                reason = "the search does not find the pictures of a model that has one of each class by heart"
                raise ProbeError(reason, hint="more steps or longer ones")
        detail: dict[str, Scalar] = {
            "control": found["control"].estimate.value, "classes": len(own), "restarts": self.restarts,
            "pictures_looked_at": sum(len(images) for images in own.values()),
        }  # fmt: skip
        yield replace(scribe.finding(CLOSENESS, found["candidate"], {}, detail=detail), reading="attack")


def pictures(
    train: Sample, sample: Sample, rng: Generator, most: int
) -> tuple[dict[int, NDArray[np.float64]], dict[int, NDArray[np.float64]]]:
    """For each class at most `most` training pictures, and as many others: the same number on both sides."""
    import numpy as np

    from steelyard.probes.fairness.drawn import canonical_rows

    found: list[dict[int, NDArray[np.float64]]] = []
    for part in (train, sample):
        rows = canonical_rows(part, rng, part.n)
        labels, images = np.asarray(part.labels)[rows], np.asarray(part.inputs)
        found.append(
            {int(c): np.asarray(images[rows[labels == c][:most]], dtype=np.float64) for c in np.unique(labels)}
        )
    even = {c: min(len(found[0][c]), len(found[1][c])) for c in found[0] if c in found[1]}
    return {c: found[0][c][:n] for c, n in even.items()}, {c: found[1][c][:n] for c, n in even.items()}


def starts(own: dict[int, NDArray[np.float64]], labels: NDArray[np.int64], rng: Generator) -> NDArray[np.float64]:
    """(labels, …) the middle of the pixels' range, with noise of a tenth of it."""
    import numpy as np

    low, high = min(float(x.min()) for x in own.values()), max(float(x.max()) for x in own.values())
    shape = (len(labels), *next(iter(own.values())).shape[1:])
    return np.clip((low + high) / 2 + (high - low) / 10 * rng.standard_normal(shape), low, high)


def invert(
    slope: Slope, start: NDArray[np.float64], labels: NDArray[np.int64], *, steps: int, step: float
) -> NDArray[np.float64]:
    """Descend from `start` (n, …) with momentum .9 on gradients made one long; pixels stay within the range of `start`
    widened to [0, 1] where it lies in there. A row whose gradient is 0 stays where it is.
    """
    import numpy as np

    low, high = min(0.0, float(start.min())), max(1.0, float(start.max()))
    x, speed = start.copy(), np.zeros_like(start)
    flat = (len(start), *([1] * (start.ndim - 1)))
    for i in range(steps):
        given = np.asarray(slope(x, labels), dtype=np.float64)
        norm = np.sqrt(np.square(given).reshape(len(x), -1).sum(axis=1)).reshape(flat)
        speed = 0.9 * speed + 0.1 * np.where(norm > 0, given / np.maximum(norm, 1e-30), 0.0)
        x = np.clip(x - 2 * step * (1 - i / steps) * speed, low, high)
    return x


def shapes_of(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, pixels) mean 0 and norm 1; all zeros for a blank picture."""
    import numpy as np

    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(np.where(norm > 1e-9, flat / np.maximum(norm, 1e-9), 0.0))


def nearness(made: NDArray[np.float64], own: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """(d_other − d_own) / (d_other + d_own) for one picture `made`; 0 where it is blank or equally near to both."""
    import numpy as np

    shape = shapes_of(made[None])[0]
    near = [float(np.linalg.norm(shapes_of(images) - shape, axis=1).min()) for images in (own, other)]
    return (near[1] - near[0]) / (near[0] + near[1]) if sum(near) > 0 else 0.0
