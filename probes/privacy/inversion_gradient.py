"""Can a training picture be rebuilt from the gradient that it gives?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import NotApplicable, ProbeError
from steelyard.audit.target import Probe, References, Sample, Target
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

__all__ = ["GradientInversion", "closeness"]

ID = "privacy.gradient-inversion"
CLOSENESS = f"{ID}.closeness"
SOURCE = "Zhu et al. 2019, arXiv:1906.08935; Geiping et al. 2020, arXiv:2003.14053"


@dataclass(frozen=True, kw_only=True)
class GradientInversion(Probe):
    """Can a training picture be rebuilt from the gradient that it gives?

    Who trains with others hands over gradients instead of pictures. For each of `images` training pictures the
    gradient of the model's weights is taken, in batches of `batch` whose labels are known, and a picture is sought
    whose gradient points the same way (Zhu et al. 2019; by cosine similarity and total variation, Geiping et al.
    2020). With d the distance, brightness and contrast taken out, closeness is (d_other − d_true) / (d_other + d_true);
    `other` is a picture of the same class that took no part: in [−1, 1]; 1 is the picture itself, 0 is no nearer to it
    than to the other. It is about the architecture and its weights, and a danger only where gradients are shared.

    The same search must first rebuild pictures from a single linear layer, whose gradient holds them plainly, or this
    is a Failure.
    """

    id: ClassVar[str] = ID
    requires: ClassVar[frozenset[Capability | Data]] = frozenset(
        {Capability.GRADIENTS, Capability.LOGITS, Data.LABELS, Data.TRAINING}
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.MULTICLASS})
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec(
            id=CLOSENESS,
            definition="mean over pictures of (d_other − d_true) / (d_other + d_true), d the distance of the rebuilt"
            " picture to the one whose gradient was shared, and to another of its class",
            direction=Direction.LOWER,
            ideal=0.0,
            lower=-1.0,
            upper=1.0,
            source=SOURCE,
            not_shown="larger batches, gradients of several steps, and what a stronger search rebuilds",
            reading="attack",
        ),
    )

    images: int = 12
    batch: int = 1
    steps: int = 200
    smooth: float = 0.01
    level: float = 0.95

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield how near the rebuilt pictures come to the true ones."""
        import numpy as np
        import torch

        from steelyard.models.networks.determinism import torch_threads
        from steelyard.probes.privacy.inversion_torch import opened
        from steelyard.probes.stats.linearised import Design
        from steelyard.probes.stats.means import mean

        if sample.modality is not Modality.IMAGE:
            raise NotApplicable("it rebuilds pictures, and the inputs are none")
        if sample.training is None or sample.training.labels is None or sample.labels is None:
            raise NotApplicable("it needs labelled training rows")
        if self.batch < 1 or self.images < 2 * self.batch:
            raise ProbeError(f"images is {self.images} and batch {self.batch}", hint="two batches at least")
        inside = opened(target, len(sample.classes))
        own, labels, other = paired_pictures(sample, rng, self.images - self.images % self.batch)
        x, beside = inside.tensor(own).detach(), inside.tensor(other).detach()
        columns = torch.as_tensor(inside.column[labels])
        seed = int(rng.integers(2**31))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            plain = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(x[0].numel(), len(sample.classes)))
        plain = plain.to(dtype=x.dtype)
        found = {}
        for name, module in (("control", plain), ("candidate", inside.module)):
            with torch_threads():
                values = self._rebuilt(module, x, beside, columns, seed)
            design = Design(n=len(values), clusters=np.repeat(np.arange(len(values) // self.batch), self.batch))
            found[name] = mean(values, design, level=self.level, lower=-1.0, upper=1.0)
            limit = found[name].estimate.low
            if name == "control" and (limit is None or limit <= 0):
                reason = "the search does not rebuild pictures from a linear layer, whose gradient holds them"
                raise ProbeError(reason, hint="more steps, more images or smaller batches")
        detail: dict[str, Scalar] = {
            "control": found["control"].estimate.value, "batch": self.batch, "steps": self.steps, "labels": "known",
        }  # fmt: skip
        scribe = Scribe(probe=self, target=target.name)
        yield replace(scribe.finding(CLOSENESS, found["candidate"], {}, detail=detail), reading="attack")

    def _rebuilt(self, module: Any, x: Any, beside: Any, columns: Any, seed: int) -> NDArray[np.float64]:
        """(images,) closeness of each picture, its batch rebuilt as one; the best fitting of the batch counts."""
        from steelyard.probes.privacy.inversion import shapes_of
        from steelyard.probes.privacy.inversion_torch import rebuild, shared_gradient

        bounds = float(min(x.min(), beside.min())), float(max(x.max(), beside.max()))
        made = []
        for start in range(0, len(x), self.batch):
            part = slice(start, start + self.batch)
            gradient = [g.detach() for g in shared_gradient(module, x[part], columns[part])]
            found = rebuild(
                module, gradient, columns[part], tuple(x[part].shape), bounds=bounds, steps=self.steps,
                smooth=self.smooth, seed=seed + start,
            )  # fmt: skip
            made.append(shapes_of(found.double().numpy()))
        return closeness(made, *(shapes_of(side.double().numpy()) for side in (x, beside)))


def closeness(
    made: Sequence[NDArray[np.float64]], own: NDArray[np.float64], other: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(images,) (d_other − d_own) / (d_other + d_own), d the distance to the nearest picture rebuilt from its batch.

    `made` holds the shapes (batch, pixels) rebuilt from each batch, `own` and `other` (images, pixels) in their order.
    """
    import numpy as np

    values: list[float] = []
    for shapes in made:
        for _ in shapes:
            i = len(values)
            near = [float(np.linalg.norm(shapes - side[i], axis=1).min()) for side in (own, other)]
            values.append((near[1] - near[0]) / (near[0] + near[1]) if sum(near) > 0 else 0.0)
    return np.array(values)


def paired_pictures(
    sample: Sample, rng: Generator, wanted: int
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[Any]]:
    """Training pictures, their labels, and for each a different picture of its class among the audited ones."""
    import numpy as np

    from steelyard.probes.fairness.drawn import canonical_rows

    train = sample.training
    assert train is not None  # noqa: S101 (required by the probe)
    first, second = canonical_rows(train, rng, train.n), canonical_rows(sample, rng, sample.n)
    waiting = {
        int(c): [r for r in second if np.asarray(sample.labels)[r] == c] for c in np.unique(np.asarray(sample.labels))
    }
    chosen: list[tuple[int, int]] = []
    for row in first:
        label = int(np.asarray(train.labels)[row])
        if len(chosen) < wanted and waiting.get(label):
            chosen.append((int(row), int(waiting[label].pop(0))))
    if len(chosen) < wanted:
        raise ProbeError(f"{len(chosen)} pairs of pictures of one class are there, {wanted} are wanted")
    own, other = (np.array(side, dtype=np.int64) for side in zip(*chosen, strict=True))
    labels = np.asarray(train.labels, dtype=np.int64)[own]
    return np.asarray(train.inputs)[own], labels, np.asarray(sample.inputs)[other]
