"""A network or an estimator saved as ONNX, run by onnxruntime: outputs only, no gradients."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.audit.canonical import digest
from steelyard.audit.errors import TargetError
from steelyard.audit.plan import TargetPart
from steelyard.audit.target import Sample, Target
from steelyard.audit.types import Capability
from steelyard.models.targets.network import network_target
from steelyard.models.targets.onnx_session import OnnxSession, open_onnx
from steelyard.models.targets.options import Meaning, read_options
from steelyard.models.targets.sklearn import estimator_target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["OnnxEngine", "OnnxEstimator", "onnx_target"]


def onnx_target(part: TargetPart, *, base: Path, sample: Sample, name: str) -> Target:
    """The model in the .onnx file `part.path`, as a target for `sample`.

    It takes one array of numbers or images, or one input for each column of a table. It gives logits, probabilities or
    numbers in one output; or a label, alone or with probabilities, as converted estimators do. No library of custom
    operators is ever loaded. Raises TargetError with one line.
    """
    options = read_options(part.settings)
    where = part.path or "target.path"
    full = base / Path(part.path or "").expanduser()
    if part.path is None or full.suffix.lower() != ".onnx" or not full.is_file():
        said = "names no file" if part.path is None else "no such .onnx file"
        raise TargetError(said, where=where, hint="name a file that ends in .onnx, relative to the plan file's folder")
    fingerprint = _fingerprint(full)
    if options.outputs is not None or options.classes is not None or part.threshold is not None:
        fingerprint = digest([fingerprint, options.outputs, options.classes, part.threshold])
    session = open_onnx(full, where, name=name, batch=options.batch).tried(sample.inputs[:2])
    if session.label is not None:
        own = _own_classes(session, sample, options.classes)
        return estimator_target(
            OnnxEstimator(session=session, own=own) if session.scores is not None else OnnxDecider(session=session),
            sample,
            name=name,
            kind="onnx",
            fingerprint=fingerprint,
            threshold=part.threshold,
            description=f"an ONNX model with labels, run by onnxruntime; {session.said}",
        )
    return network_target(
        OnnxEngine(session=session),
        sample,
        name=name,
        kind="onnx",
        fingerprint=fingerprint,
        options=options,
        said=[f"an ONNX model, run by onnxruntime; {session.said}"],
        threshold=part.threshold,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxEngine:
    """One output of numbers."""

    session: OnnxSession
    what: frozenset[Capability] = frozenset()

    def outputs(self, inputs: Any) -> NDArray[np.float64]:
        """(n, k) the numbers of the first output that holds some."""
        return self.session.numbers(inputs)

    def gradients(self, inputs: Any, columns: NDArray[np.int64], meaning: Meaning) -> NDArray[np.float64]:
        """Never claimed."""
        raise TargetError("onnxruntime gives no gradients", where=self.session.name)

    def embed(self, inputs: Any) -> NDArray[np.float64]:
        """Never claimed."""
        raise TargetError("onnxruntime gives no embeddings", where=self.session.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxDecider:
    """An estimator that gives labels alone."""

    session: OnnxSession

    def predict(self, inputs: Any) -> NDArray[Any]:
        """(n,) labels as the model calls them."""
        return self.session.labels(inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxEstimator(OnnxDecider):
    """An estimator that gives labels and probabilities, whose columns are `own`."""

    own: NDArray[Any]

    @property
    def classes_(self) -> NDArray[Any]:
        """(classes,) the labels that the columns of the probabilities stand for."""
        return self.own

    def predict_proba(self, inputs: Any) -> NDArray[np.float64]:
        """(n, classes) probabilities in the order of `classes_`."""
        return self.session.numbers(inputs)


def _own_classes(session: OnnxSession, sample: Sample, said: tuple[str, ...] | None) -> NDArray[Any]:
    """(classes,) the names of the columns: the model's own, those of the settings, or what the labels of rows say.

    The label of a row is that of its likeliest column; columns that are the likeliest of no row get the classes that
    are left, in their order. Raises TargetError where two labels share a column.
    """
    import numpy as np

    from steelyard.models.targets.answers import sample_code

    if said is not None:
        return np.asarray(said, dtype=object)
    if session.scores is None:
        return np.empty(0)
    rows = sample.inputs[: min(1000, sample.n)]
    if session.keys is not None:
        return np.asarray(session.keys)
    labels, scores = session.labels(rows), session.numbers(rows)
    column = scores.argmax(axis=1)
    sure = np.sort(scores, axis=1)[:, -1] - np.sort(scores, axis=1)[:, -2] > 1e-6 if scores.shape[1] > 1 else column < 0
    seen: dict[int, Any] = {}
    for place, label in zip(column[sure].tolist(), labels[sure].tolist(), strict=True):
        if seen.setdefault(place, label) != label:
            raise TargetError(
                f"its label is not that of its likeliest column: {place} goes with {seen[place]!r} and {label!r}",
                where=session.name,
                hint="name the columns by target.settings.classes",
            )
    taken = {sample_code(label, sample.classes) for label in seen.values()}
    left = iter([name for code, name in enumerate(sample.classes) if code not in taken])
    names = [str(seen[place]) if place in seen else next(left, f"column {place}") for place in range(scores.shape[1])]
    return np.asarray(names, dtype=object)


def _fingerprint(full: Path) -> str:
    """SHA-256 of the model and of what lies beside it under its name: weights too large for the file itself."""
    beside = sorted(path for path in full.parent.glob(f"{full.name}*") if path.is_file())
    state = hashlib.sha256()
    for path in beside:
        with path.open("rb") as stream:
            state.update(hashlib.file_digest(stream, "sha256").digest())
    return state.hexdigest()
