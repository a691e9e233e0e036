"""One ONNX model in onnxruntime: what it takes, what it gives, and asking it in batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import TargetError
from steelyard.models.targets.numeric import numeric_inputs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["OnnxSession", "open_onnx"]

_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}
_LABELS = ("tensor(int64)", "tensor(string)", "tensor(int32)")
_MAPS = ("seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxSession:
    """A model whose outputs are known by name: `label` (n,), and `scores` (n, k), which may be maps by class (`keys`).

    `takes` has the name, the type and the declared shape of each input; `axes` is the number of axes that a single
    input is given with.
    """

    name: str
    session: Any = field(repr=False)
    takes: tuple[tuple[str, str, tuple[Any, ...]], ...]
    batch: int
    label: str | None
    scores: str | None
    mapped: bool = False
    keys: tuple[Any, ...] | None = None
    axes: int = 2

    @property
    def fixed(self) -> int:
        """The only batch size that it takes; 0 where it takes any."""
        shape = self.takes[0][2]
        return shape[0] if shape and isinstance(shape[0], int) and shape[0] > 0 else 0

    @property
    def said(self) -> str:
        """How it is asked."""
        how = f"its {len(self.takes)} inputs are columns" if len(self.takes) > 1 else f"its input has {self.axes} axes"
        return how + (f", {self.fixed} rows at a time" if self.fixed else "")

    def tried(self, first: Any) -> OnnxSession:
        """The same, knowing how many axes its input has and what its columns are called, after a trial on some rows."""
        ready = self
        if len(self.takes) == 1:
            shape = self.takes[0][2]
            ready = replace(self, axes=len(shape) or getattr(numeric_inputs(first, self.name), "ndim", 2))
        if ready.scores is not None and ready.mapped:
            maps = [row for part in ready._run(first, [ready.scores]) for row in part[0]]
            ready = replace(ready, keys=tuple(maps[0]) if maps else None)
        else:
            list(ready._run(first, [ready.scores or ready.label or ""]))
        return ready

    def numbers(self, inputs: Any) -> NDArray[np.float64]:
        """(n, k) the scores."""
        import numpy as np

        found = []
        for (part,) in self._run(inputs, [self.scores or ""]):
            if self.mapped:
                part = np.array([[row[key] for key in self.keys or ()] for row in part], dtype=np.float64)
            found.append(np.asarray(part, dtype=np.float64))
        whole = np.concatenate(found) if found else np.empty((0, 1))
        if whole.ndim > 2:
            raise TargetError(f"gives an output of the shape {whole.shape}, not (n, outputs)", where=self.name)
        return whole

    def labels(self, inputs: Any) -> NDArray[Any]:
        """(n,) the labels."""
        import numpy as np

        parts = [np.asarray(part).reshape(-1) for (part,) in self._run(inputs, [self.label or ""])]
        return np.concatenate(parts) if parts else np.empty(0, dtype=object)

    def _run(self, inputs: Any, wanted: list[str]) -> Iterator[list[Any]]:
        step = self.fixed or self.batch
        fed = self._fed(inputs)
        n = len(inputs)
        for start in range(0, n, step):
            rows = min(step, n - start)
            part = {key: _filled(values[start : start + step], self.fixed) for key, values in fed.items()}
            try:
                answered = self.session.run(wanted, part)
            except Exception as error:  # onnxruntime's own kinds have no common one
                shapes = ", ".join(f"{key} {values.shape}" for key, values in part.items())
                text = " ".join(str(error).split())[:200]
                raise TargetError(f"does not take {shapes}: {type(error).__name__}: {text}", where=self.name) from error
            yield [one[:rows] for one in answered]

    def _fed(self, inputs: Any) -> dict[str, NDArray[Any]]:
        import pandas as pd

        if len(self.takes) > 1:
            names = [key for key, _, _ in self.takes]
            if not isinstance(inputs, pd.DataFrame) or any(key not in inputs.columns for key in names):
                lacking = [k for k in names if k not in getattr(inputs, "columns", ())]
                message = f"takes {len(names)} inputs, and the data has no column {lacking[0]!r}"
                raise TargetError(message, where=self.name, hint="an input is a column, by its name")
            return {key: _column(inputs[key], kind, shape, self.name) for key, kind, shape in self.takes}
        key, kind, shape = self.takes[0]
        array = numeric_inputs(inputs, self.name)
        if array.ndim == 3 and self.axes == 4:
            array = array[:, None]
        elif array.ndim > 2 and self.axes == 2:
            array = array.reshape(len(array), -1)
        wrong = array.ndim != self.axes or any(
            isinstance(size, int) and size > 0 and size != have
            for size, have in zip(shape[1:], array.shape[1:], strict=False)
        )
        if wrong:
            declared = ", ".join(str(size) for size in ("n", *shape[1:]))
            given = ", ".join(str(size) for size in ("n", *array.shape[1:]))
            raise TargetError(f"takes inputs of the shape ({declared}), and the data has ({given})", where=self.name)
        return {key: array.astype(_TYPES[kind])}


def open_onnx(full: Path, where: str, *, name: str, batch: int) -> OnnxSession:
    """The model in a file, on one thread. Raises TargetError for a damaged file and for operators it does not know."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # sums over several come out in another order
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(full), sess_options=options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 (onnxruntime's own kinds have no common one)
        text = " ".join(str(error).split())[:250]
        hint = "custom operators are not loaded; is the file whole, and its opset known to this onnxruntime?"
        raise TargetError(f"cannot be loaded: {text}", where=where, hint=hint) from None
    takes = tuple((item.name, item.type, tuple(item.shape or ())) for item in session.get_inputs())
    odd = [kind for _, kind, _ in takes if kind not in _TYPES]
    if odd or not takes:
        raise TargetError(f"takes {odd[0] if odd else 'no input'}, not an array", where=where)
    outputs = {item.name: item.type for item in session.get_outputs()}
    label = next((key for key, kind in outputs.items() if kind in _LABELS), None)
    floats = [key for key, kind in outputs.items() if kind in _MAPS or kind in list(_TYPES)[:3]]
    if label is None and not floats:
        raise TargetError(f"gives {', '.join(outputs.values())}, neither numbers nor labels", where=where)
    scores = floats[0] if floats else None
    mapped = scores is not None and outputs[scores] in _MAPS
    return OnnxSession(name=name, session=session, takes=takes, batch=batch, label=label, scores=scores, mapped=mapped)


def _filled(values: NDArray[Any], fixed: int) -> NDArray[Any]:
    """A batch of the fixed size, its last row repeated."""
    import numpy as np

    if not fixed or len(values) == fixed:
        return values
    return np.concatenate([values, np.repeat(values[-1:], fixed - len(values), axis=0)])


def _column(column: Any, kind: str, shape: tuple[Any, ...], name: str) -> NDArray[Any]:
    import numpy as np

    try:
        values = column.astype(str).to_numpy(dtype=object) if kind == "tensor(string)" else column.to_numpy()
        array = np.asarray(values).astype(_TYPES[kind])
    except (TypeError, ValueError):
        raise TargetError(
            f"its input {column.name!r} takes {kind}, and the column holds other values", where=name
        ) from None
    return array[:, None] if len(shape) == 2 else array
