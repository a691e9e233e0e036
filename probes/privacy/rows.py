"""The rows an attack works on: drawn from a sample, put together with others, made into numbers, and disturbed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from steelyard.audit.canonical import FrozenMap, digest, sha256
from steelyard.audit.errors import ProbeError
from steelyard.audit.target import Groups, Sample
from steelyard.audit.types import Modality

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Encoder", "disturbed", "inside_and_outside", "known_labels", "pooled", "take"]

TEXT_PLACES = 256  # hashed word counts that stand for a text
MOST_WORDS = 50  # levels of a column that have a place of their own


def known_labels(sample: Sample) -> NDArray[np.int64]:
    """(n,) the class codes. ProbeError without labels: `requires` names them, this guards direct use."""
    if sample.labels is None:
        raise ProbeError("membership inference needs the rows' labels")
    return sample.labels


def take(sample: Sample, rows: NDArray[Any]) -> Sample:
    """Some rows (indices) of a sample, in that order, as a sample of their own with a fingerprint of its own."""
    import numpy as np
    import pandas as pd

    table = isinstance(sample.inputs, (pd.DataFrame, pd.Series))
    return replace(
        sample,
        inputs=sample.inputs.iloc[rows].reset_index(drop=True) if table else np.asarray(sample.inputs)[rows],
        labels=None if sample.labels is None else sample.labels[rows],
        groups=FrozenMap({a: replace(g, codes=g.codes[rows]) for a, g in sample.groups.items()}),
        weights=None if sample.weights is None else sample.weights[rows],
        clusters=None if sample.clusters is None else sample.clusters[rows],
        ids=None if sample.ids is None else sample.ids[rows],
        fingerprint=digest([sample.fingerprint, sha256(np.ascontiguousarray(rows).tobytes())]),
        training=None,
    )


def pooled(first: Sample, second: Sample) -> Sample:
    """The rows of both, `first` before `second`. Attributes that only one knows, weights and clusters are left out.

    The two know the same classes: a plan's training and test rows do.
    """
    import numpy as np
    import pandas as pd

    if first.classes != second.classes:
        raise ProbeError(f"the classes of the training rows are {first.classes}, those of the others {second.classes}")
    a, b = first.inputs, second.inputs
    table = isinstance(a, (pd.DataFrame, pd.Series))
    groups = {name: _joined(g, second.groups[name]) for name, g in first.groups.items() if name in second.groups}
    return replace(
        first,
        inputs=pd.concat([a, b], ignore_index=True) if table else np.concatenate([np.asarray(a), np.asarray(b)]),
        labels=np.concatenate([known_labels(first), known_labels(second)]),
        groups=FrozenMap(groups),
        weights=None,
        clusters=None,
        ids=None,
        fingerprint=digest([first.fingerprint, second.fingerprint]),
        training=None,
    )


def _joined(first: Groups, second: Groups) -> Groups:
    import numpy as np

    levels = (*first.levels, *(name for name in second.levels if name not in first.levels))
    place = np.array([levels.index(name) for name in second.levels], dtype=np.int64)
    unknown = first.unknown if first.unknown >= 0 or second.unknown < 0 else int(place[second.unknown])
    return replace(first, codes=np.concatenate([first.codes, place[second.codes]]), levels=levels, unknown=unknown)


def inside_and_outside(sample: Sample, rng: Generator, most: int) -> tuple[Sample, Sample]:
    """At most `most` training rows (members) and as many of the sample's own (the others), in an order of content.

    Members of a table without ids have their row's number for one.
    """
    from steelyard.probes.fairness.drawn import canonical_rows

    if sample.training is None:
        raise ProbeError("membership inference needs the training rows", hint="name data.train")
    rows = canonical_rows(sample.training, rng, most)
    inside = take(sample.training, rows)
    if inside.ids is None:
        inside = replace(inside, ids=rows)
    return inside, take(sample, canonical_rows(sample, rng, most))


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """Inputs as a matrix of numbers, in the way that the rows it was fitted on set: for distances and for trees.

    Numbers are standardised (a missing one is 0), words 0 or 1 each, pixels scaled together, texts hashed word counts.
    """

    modality: Modality
    numbers: tuple[tuple[Any, float, float], ...] = ()  # column, mean, standard deviation
    words: tuple[tuple[Any, tuple[str, ...]], ...] = ()  # column, its commonest levels
    scale: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def fit(cls, sample: Sample) -> Encoder:
        """The encoder of a sample's features."""
        import numpy as np
        import pandas as pd

        if sample.modality is Modality.TEXT:
            return cls(modality=Modality.TEXT)
        if not isinstance(sample.inputs, pd.DataFrame):
            values = np.asarray(sample.inputs, dtype=np.float64)
            if sample.modality is Modality.IMAGE:
                return cls(modality=Modality.IMAGE, scale=(float(values.mean()), float(values.std()) or 1.0))
            frame = pd.DataFrame(values.reshape(len(values), -1))
        else:
            frame = sample.inputs
        numbers, words = [], []
        for name in frame.columns:
            if _is_number(frame[name]):
                column = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
                spread = float(np.nanstd(column)) if np.isfinite(column).any() else 0.0
                if spread > 0:
                    numbers.append((name, float(np.nanmean(column)), spread))
            else:
                levels = frame[name].astype("string").fillna("").value_counts()
                order = sorted(levels.index, key=lambda level, counts=levels: (-int(counts[level]), str(level)))  # type: ignore[misc]
                words.append((name, tuple(str(level) for level in order[:MOST_WORDS])))
        return cls(modality=Modality.TABULAR, numbers=tuple(numbers), words=tuple(words))

    def __call__(self, inputs: Any) -> NDArray[np.float64]:
        """(n, d) the matrix of these inputs."""
        import numpy as np
        import pandas as pd

        if self.modality is Modality.TEXT:
            from sklearn.feature_extraction.text import HashingVectorizer

            hashed = HashingVectorizer(n_features=TEXT_PLACES, alternate_sign=False).transform(_texts(inputs))
            return np.asarray(hashed.toarray(), dtype=np.float64)
        if self.modality is Modality.IMAGE:
            pixels = np.asarray(inputs, dtype=np.float64).reshape(len(inputs), -1)
            return np.asarray((pixels - self.scale[0]) / self.scale[1])
        frame = (
            inputs if isinstance(inputs, pd.DataFrame) else pd.DataFrame(np.asarray(inputs).reshape(len(inputs), -1))
        )
        parts = [
            np.nan_to_num((frame[name].to_numpy(dtype=np.float64, na_value=np.nan) - mean) / spread)[:, None]
            for name, mean, spread in self.numbers
        ]
        for name, levels in self.words:
            said = frame[name].astype("string").fillna("").to_numpy(dtype=object)
            parts.append((said[:, None] == np.array(levels, dtype=object)).astype(np.float64))
        if not parts:
            raise ProbeError("no feature differs between rows, so nothing of a row can be remembered")
        return np.concatenate(parts, axis=1)


def _is_number(column: pd.Series[Any]) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype))


def _texts(inputs: Any) -> list[str]:
    """One string a row: the columns of a frame of texts joined, or the texts themselves."""
    import pandas as pd

    if isinstance(inputs, pd.DataFrame):
        return [" ".join(str(part) for part in row) for row in inputs.itertuples(index=False)]
    return [str(text) for text in inputs]


def disturbed(inputs: Any, modality: Modality, strength: float, rng: Generator) -> Any:
    """The inputs with noise: numbers moved by `strength` standard deviations of their column, words redrawn from their
    column and words of a text dropped with a probability of half of `strength`, pixels moved within their range.
    """
    import numpy as np
    import pandas as pd

    chance = min(strength / 2, 0.9)
    if not isinstance(inputs, pd.DataFrame):
        if modality is Modality.TEXT:
            return np.array([_dropped(str(text), chance, rng) for text in inputs], dtype=object)
        values = np.asarray(inputs, dtype=np.float64)
        spread = values.std() if modality is Modality.IMAGE else values.std(axis=0)
        moved = values + strength * spread * rng.standard_normal(values.shape)
        kept = np.clip(moved, values.min(), values.max()) if modality is Modality.IMAGE else moved
        return kept.astype(np.asarray(inputs).dtype) if np.issubdtype(np.asarray(inputs).dtype, np.floating) else kept
    found = inputs.copy()
    for name in inputs.columns:
        column = inputs[name]
        if modality is Modality.TEXT:
            found[name] = [_dropped(str(text), chance, rng) for text in column]
        elif _is_number(column):
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
            moved = values + strength * float(np.nanstd(values)) * rng.standard_normal(len(values))
            whole = pd.api.types.is_integer_dtype(column.dtype)
            found[name] = pd.array(np.rint(moved) if whole else moved, dtype="float64").astype(column.dtype)
        else:
            redrawn = rng.random(len(column)) < chance
            other = column.to_numpy()[rng.integers(0, len(column), len(column))]
            found[name] = column.where(~redrawn, pd.Series(other, index=column.index, dtype=column.dtype))
    return found


def _dropped(text: str, chance: float, rng: Generator) -> str:
    words = text.split()
    kept = [word for word, stays in zip(words, rng.random(len(words)) >= chance, strict=True) if stays]
    return " ".join(kept or words[:1])
