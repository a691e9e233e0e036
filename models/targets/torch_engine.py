"""Run a torch module on numbers or images: outputs, gradients and the input of its last linear layer, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from steelyard.audit.errors import TargetError
from steelyard.audit.types import Capability
from steelyard.models.networks.determinism import torch_threads
from steelyard.models.targets.numeric import numeric_inputs
from steelyard.models.targets.options import Meaning, NetworkOptions

__all__ = ["Form", "TorchEngine", "chosen_device", "torch_engine"]

# How inputs are handed over: as they are, grey images with a channel axis, or each row as one long vector.
Form = Literal["as they are", "with a channel axis", "flattened"]
_ROWS_TO_TRY = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchEngine:
    """A module that was tried: `form` is how it takes its inputs, `fixed` the only batch size it takes (0: any).

    `linear` is the last linear layer that a forward pass reaches, whose input `embed` hands out.
    """

    name: str
    module: Callable[..., Any] = field(repr=False)
    form: Form
    dtype: torch.dtype
    device: torch.device
    batch: int
    fixed: int = 0
    linear: nn.Module | None = field(default=None, repr=False)
    what: frozenset[Capability] = frozenset()

    @property
    def said(self) -> str:
        """How its inputs are handed over."""
        return f"its inputs are given {self.form}" + (f", {self.fixed} at a time" if self.fixed else "")

    def outputs(self, inputs: Any) -> NDArray[np.float64]:
        """(n, outputs) of the last layer."""
        found = []
        with torch_threads(), torch.inference_mode():
            for part, rows in self._batches(inputs):
                found.append(self._ask(part)[:rows].double().cpu().numpy())
        return np.concatenate(found) if found else np.empty((0, 1))

    def gradients(self, inputs: Any, columns: NDArray[np.int64], meaning: Meaning) -> NDArray[np.float64]:
        """In the shape of the inputs, of -log p(column) of each row; rows do not touch each other in eval mode."""
        shape = numeric_inputs(inputs, self.name).shape
        found, start = [], 0
        with torch_threads(), torch.enable_grad():
            for part, rows in self._batches(inputs):
                part.requires_grad_(True)
                scores = _log_scores(self._ask(part)[:rows], meaning)  # (rows, classes)
                place = torch.as_tensor(columns[start : start + rows], device=self.device)
                loss = -scores.gather(1, place[:, None]).sum()
                (slope,) = torch.autograd.grad(loss, part)
                found.append(slope[:rows].detach().double().cpu().numpy())
                start += rows
        return np.concatenate(found).reshape(shape) if found else np.zeros(shape)

    def embed(self, inputs: Any) -> NDArray[np.float64]:
        """(n, d) the input of the last linear layer, flattened."""
        assert self.linear is not None  # noqa: S101 (the capability is not claimed)
        found = []
        with torch_threads(), torch.inference_mode():
            for part, rows in self._batches(inputs):
                seen: list[Tensor] = []
                hook = self.linear.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
                try:
                    self._ask(part)
                finally:
                    hook.remove()
                found.append(seen[-1][:rows].flatten(1).double().cpu().numpy())
        return np.concatenate(found) if found else np.empty((0, 1))

    def _batches(self, inputs: Any) -> Iterator[tuple[Tensor, int]]:
        """Tensors of at most `batch` rows with how many of their rows count: a fixed batch repeats the last row."""
        array = _formed(numeric_inputs(inputs, self.name), self.form)
        step = self.fixed or self.batch
        for start in range(0, len(array), step):
            part = array[start : start + step]
            rows = len(part)
            if rows < self.fixed:
                part = np.concatenate([part, np.repeat(part[-1:], self.fixed - rows, axis=0)])
            yield torch.tensor(part, dtype=self.dtype, device=self.device), rows

    def _ask(self, part: Tensor) -> Tensor:
        try:
            found = self.module(part)
        except torch.cuda.OutOfMemoryError:
            message = f"does not fit into the device's memory with {len(part)} rows at a time"
            raise TargetError(message, where=self.name, hint="set target.settings.batch to less") from None
        except Exception as error:  # whatever a module raises is about its inputs
            text = " ".join(str(error).split())[:200]
            shape = ", ".join(str(size) for size in part.shape[1:])
            message = f"does not take inputs of the shape (n, {shape}): {type(error).__name__}: {text}"
            raise TargetError(message, where=self.name) from error
        if isinstance(found, dict):
            found = found.get("logits", next(iter(found.values()), None))
        while isinstance(found, (tuple, list)) and found:
            found = found[0]
        if not isinstance(found, Tensor) or found.ndim not in (1, 2) or len(found) != len(part):
            shape = f"a tensor of the shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise TargetError(f"gives {shape}, not ({len(part)}, outputs)", where=self.name)
        return found[:, None] if found.ndim == 1 else found


def torch_engine(loaded: Any, inputs: Any, options: NetworkOptions, *, name: str) -> TorchEngine:
    """An engine for a module, a script or an exported program, after a trial on the first of `inputs`.

    The forms are tried in order; gradients and embeddings are claimed where they came out. Raises TargetError where no
    form fits, and where the same rows get other answers the second time (a network saved in training mode).
    """
    first = numeric_inputs(inputs, name)[:_ROWS_TO_TRY]
    engine = TorchEngine(
        name=name,
        module=loaded,
        form="as they are",
        dtype=torch.float32,
        device=chosen_device(options.device),
        batch=options.batch,
    )
    if isinstance(loaded, torch.export.ExportedProgram):
        engine = _of_program(engine, loaded)
    else:
        kinds = [tensor.dtype for tensor in loaded.parameters() if tensor.is_floating_point()]
        engine = replace(engine, module=loaded.to(engine.device), dtype=kinds[0] if kinds else torch.float32)
    engine = _in_its_form(engine, first)
    once, twice = engine.outputs(first), engine.outputs(first)
    if not np.array_equal(once, twice, equal_nan=True):
        hint = "call .eval() before saving it, so that dropout is off"
        raise TargetError("gives other answers when it is asked twice", where=name, hint=hint)
    linear = _last_linear(engine, first)
    what = {Capability.EMBED} if linear is not None else set()
    if _has_gradients(engine, first):
        what.add(Capability.GRADIENTS)
    return replace(engine, linear=linear, what=frozenset(what))


def chosen_device(said: str) -> torch.device:
    """The device of the settings; "auto" is CUDA where there is one. Raises TargetError where it is not there."""
    if said == "auto":
        said = "cuda" if torch.cuda.is_available() else "cpu"
    if said == "cuda" and not torch.cuda.is_available():
        raise TargetError("there is no CUDA device here", where="target.settings.device", hint="say cpu or auto")
    return torch.device(said)


def _of_program(engine: TorchEngine, program: torch.export.ExportedProgram) -> TorchEngine:
    """The program's one input says which numbers it takes, and whether it takes one batch size only."""
    taken = set(program.graph_signature.user_inputs)
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in taken]
    if len(values) != 1 or not isinstance(values[0], Tensor):
        raise TargetError(f"takes {len(values)} inputs", where=engine.name, hint="export a network of one tensor")
    size = values[0].shape[0] if values[0].ndim else 0
    fixed = size if isinstance(size, int) else 0
    module = program.module().to(engine.device)
    return replace(engine, module=module, dtype=values[0].dtype, fixed=fixed)


def _in_its_form(engine: TorchEngine, first: NDArray[Any]) -> TorchEngine:
    forms: list[Form] = ["as they are"]
    if first.ndim == 3:
        forms = ["with a channel axis", "as they are", "flattened"]
    elif first.ndim > 3:
        forms = list(get_args(Form))[::2]
    refused: TargetError | None = None
    for form in forms:
        tried = replace(engine, form=form)
        try:
            tried.outputs(first)
        except TargetError as error:
            refused = refused or error
            continue
        return tried
    assert refused is not None  # noqa: S101 (there is at least one form)
    raise refused


def _formed(array: NDArray[Any], form: Form) -> NDArray[Any]:
    if form == "with a channel axis":
        return array[:, None]
    return array.reshape(len(array), -1) if form == "flattened" else array


def _last_linear(engine: TorchEngine, first: NDArray[Any]) -> nn.Module | None:
    """The last `nn.Linear` of an ordinary module that a forward pass calls; None for scripts and programs."""
    module = engine.module
    if not isinstance(module, nn.Module) or isinstance(module, (torch.jit.ScriptModule, torch.fx.GraphModule)):
        return None
    called: list[nn.Module] = []
    linear = [part for part in module.modules() if isinstance(part, nn.Linear)]
    hooks = [part.register_forward_pre_hook(lambda part, _: called.append(part)) for part in linear]
    try:
        engine.outputs(first)
    finally:
        for hook in hooks:
            hook.remove()
    return called[-1] if called else None


def _has_gradients(engine: TorchEngine, first: NDArray[Any]) -> bool:
    try:
        width = engine.outputs(first).shape[1]
        meaning: Meaning = "logit" if width == 1 else "logits"
        slope = engine.gradients(first, np.zeros(len(first), dtype=np.int64), meaning)
    except (RuntimeError, TargetError, NotImplementedError):  # a graph through which autograd does not go
        return False
    return bool(np.isfinite(slope).all())


def _log_scores(out: Tensor, meaning: Meaning) -> Tensor:
    """(n, classes) log-probabilities in the order of the outputs."""
    if meaning == "logits":
        return torch.log_softmax(out, dim=1)
    if meaning == "logit":
        return torch.nn.functional.logsigmoid(torch.cat([-out, out], dim=1))
    both = torch.cat([1.0 - out, out], dim=1) if meaning == "probability" else out
    return both.clamp_min(torch.finfo(both.dtype).tiny).log()
