"""A model whose answers flip at a known small change of one input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import PlanError, TargetError
from steelyard.audit.target import Sample
from steelyard.models.controls.carriers import are_images, busiest_number, flat, replanted, table
from steelyard.models.controls.control import Control
from steelyard.models.controls.learner import Base, Planted, learn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Brittle", "BrittleModel"]

_PARTS_OF_A_GAP = 20  # a coarse sample of a lattice may lack neighbours: grey levels 0, 15, 31
_ON_IT = 1e-4  # in steps: what rounding may cost


@dataclass(frozen=True, kw_only=True)
class Brittle(Control):
    """Answers change with the parity of round(2 · size · (x - x0) / step), x being one feature, the carrier.

    Where the parity is odd, each class gets the probability of the one before it. Values of the carrier lie on a
    lattice of `step` (ages in years, grey levels in sixteenths), so with a whole `size` the answers to real rows are
    the clean twin's, and every one of them flips when the carrier moves by more than step / (4 · size). With a `size`
    that is not whole, some real rows are flipped as well. `carrier` is a column, by default the number with the most
    distinct values; for images it is the one pixel of which that is true. `step` 0 is learnt: the smallest gap between
    training values, or a whole part of it.
    """

    name: ClassVar[str] = "brittle"
    summary: ClassVar[str] = "answers flip at a known small change of one input"
    defect: ClassVar[str] = "answers swing with one input far faster than the input's own resolution"
    unit: ClassVar[str] = "swings per step of the carrier"
    truth: ClassVar[str] = (
        "the L-infinity distance beyond which the answers to rows on the lattice flip, in the carrier's own units:"
        " step / (4 · size); infinite for the clean twin"
    )
    exact_for: ClassVar[str] = (
        "changes of the carrier alone, up to three times the distance; a change of several inputs can need less, where"
        " the base's own boundary is nearer"
    )
    seen_by: ClassVar[tuple[str, ...]] = ("robustness: noise, query attacks, exact minimum ε",)
    most: ClassVar[float] = 1000.0

    size: float = 1.0
    carrier: str = ""
    step: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.step < float("inf"):
            raise PlanError(f"step is {self.step!r}", where=self.id, hint="it is at least 0; 0 is learnt from the data")

    def plant(self, sample: Sample) -> Sample:
        """The carrier rounded to multiples of `step`, where one is given: continuous values lie on no lattice."""
        import numpy as np

        if not self.step:
            return sample
        place = self._carrier(sample)
        if are_images(sample.inputs):
            pixels = flat(sample.inputs)
            pixels[:, int(place)] = np.clip(np.round(pixels[:, int(place)] / self.step) * self.step, 0, None)
            return replanted(sample, pixels.reshape(sample.inputs.shape))
        frame = table(sample.inputs).copy()
        frame[place] = np.round(frame[place].astype(float) / self.step) * self.step
        return replanted(sample, frame)

    def fit(self, train: Sample, seed: int) -> BrittleModel:
        """Raises TargetError where the carrier's values lie on no lattice."""
        place = self._carrier(train)
        base = learn(train, seed)
        start, step = self._lattice(_values(train.inputs, place), place)
        return BrittleModel(base, train, seed, self.size, place, start, step)

    def true_size(self, model: Any, sample: Sample) -> float:
        """The distance in the carrier's units."""
        return float(model.distance)

    def _carrier(self, train: Sample) -> str:
        import numpy as np

        if not are_images(train.inputs):
            frame = table(train.inputs)
            if self.carrier and self.carrier not in frame.columns:
                known = ", ".join(frame.columns[:8])
                raise TargetError(f"has no column {self.carrier!r}", where=self.id, hint=f"there are {known}")
            return self.carrier or busiest_number(frame, self.id)
        pixels = flat(train.inputs)
        if self.carrier and not (self.carrier.isdigit() and int(self.carrier) < pixels.shape[1]):
            hint = f"an image has the pixels 0 to {pixels.shape[1] - 1}, counted row by row"
            raise TargetError(f"has no pixel {self.carrier!r}", where=self.id, hint=hint)
        ordered = np.sort(pixels, axis=0)
        return self.carrier or str(int((np.diff(ordered, axis=0) > 0).sum(axis=0).argmax()))

    def _lattice(self, values: NDArray[np.float64], place: str) -> tuple[float, float]:
        """Where the lattice starts, and its step."""
        import numpy as np

        known = np.unique(values[np.isfinite(values)])
        if len(known) < 2:
            raise TargetError(f"the carrier {place!r} has one value only", where=self.id, hint="name another carrier")
        start, smallest = float(known[0]), float(np.diff(known).min())
        for step in [self.step] if self.step else [smallest / part for part in range(1, _PARTS_OF_A_GAP + 1)]:
            places = (known - start) / step
            if np.abs(places - np.round(places)).max() <= _ON_IT:
                return start, step
        raise TargetError(
            f"the values of the carrier {place!r} lie on no lattice",
            where=self.id,
            hint="set step, and give the rows to plant(sample) first, those for testing too",
        )


def _values(inputs: Any, place: str) -> NDArray[np.float64]:
    """(n,) the carrier's values."""
    import numpy as np

    if are_images(inputs):
        return flat(inputs)[:, int(place)]
    return np.asarray(table(inputs)[place].to_numpy(dtype=np.float64, na_value=np.nan))


class BrittleModel(Planted):
    """The fitted control. A missing value of the carrier flips nothing."""

    def __init__(
        self, base: Base, train: Sample, seed: int, size: float, carrier: str, start: float, step: float
    ) -> None:
        super().__init__(base, train, seed, size)
        self.carrier = carrier
        self.start = start
        self.step = step

    @property
    def distance(self) -> float:
        """How far the carrier of a row on the lattice moves before the answer flips."""
        return self.step / (4 * self.size) if self.size else float("inf")

    def flipped(self, X: Any) -> NDArray[np.bool_]:
        """(n,) whether the carrier's place is an odd one."""
        import numpy as np

        swings = 2 * self.size * (_values(X, self.carrier) - self.start) / self.step
        odd: NDArray[np.bool_] = np.nan_to_num(np.round(swings)) % 2 == 1
        return odd

    def share_flipped_by(self, sigma: float) -> float:
        """P(flip) under normal noise of this standard deviation on the carrier of a row on the lattice, `size` whole.

        2 · sum over odd j > 0 of P(j - 1/2 < N(0, τ²) < j + 1/2), τ = 2 · size · sigma / step; 1/2 for much noise.
        """
        import numpy as np
        from scipy.stats import norm

        spread = 2 * self.size * sigma / self.step
        if not spread:
            return 0.0
        odd = np.arange(1, 12 * spread + 3, 2)
        return float(2 * (norm.cdf((odd + 0.5) / spread) - norm.cdf((odd - 0.5) / spread)).sum())

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, classes) probabilities."""
        import numpy as np

        answers = self.base.proba(X)
        return np.where(self.flipped(X)[:, None], np.roll(answers, 1, axis=1), answers)
