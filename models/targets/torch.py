"""A network in torch: an exported program, TorchScript, or a Python file's module with its weights beside it."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.audit.canonical import digest
from steelyard.audit.errors import TargetError, UnsafeArtifact
from steelyard.audit.plan import TargetPart
from steelyard.audit.target import Sample
from steelyard.models.targets.archives import check_export, check_script, held_in
from steelyard.models.targets.network import NetworkAdapter, network_target
from steelyard.models.targets.options import NetworkOptions, read_options
from steelyard.models.targets.python import call_factory, importable

if TYPE_CHECKING:
    from steelyard.models.targets.torch_engine import TorchEngine

__all__ = ["torch_target"]

_ARCHIVES = (".pt2", ".pt", ".pth", ".ts")
_WEIGHTS = (".safetensors", ".pt", ".pth")


def torch_target(part: TargetPart, *, base: Path, sample: Sample, train: Sample | None, name: str) -> NetworkAdapter:
    """The network that `part` names, as a target for `sample`.

    `path` is a .pt2 (torch.export), TorchScript (.pt, .ts), or "file.py" with `factory` and, unless the factory loads
    them itself, `weights`: safetensors, or a state dict that `torch.load(weights_only=True)` takes. Archives are looked
    through before torch opens them (`archives`). Raises TargetError, UnsafeArtifact or PlanError with one line.
    """
    options = read_options(part.settings)
    path = part.path or ""
    full = base / Path(path.rpartition(":")[0] if ".py:" in path else path).expanduser()
    _check_there(part, full)
    if full.suffix == ".py":
        module, fingerprint, said = _from_factory(part, base=base, train=train)
    else:
        module, fingerprint, said = _from_archive(full, path)
    if options.outputs is not None or options.classes is not None or part.threshold is not None:
        fingerprint = digest([fingerprint, options.outputs, options.classes, part.threshold])
    engine = _engine(module, sample, options, name=name)
    return network_target(
        engine,
        sample,
        name=name,
        kind="torch",
        fingerprint=fingerprint,
        options=options,
        said=[said, engine.said],
        threshold=part.threshold,
    )


def _check_there(part: TargetPart, full: Path) -> None:
    path = part.path
    if path is None:
        raise TargetError("names no file", where="target.path", hint="name a .pt2 file, or file.py and target.factory")
    if full.suffix.lower() == ".safetensors":
        hint = "name the file that builds the network as path: file.py, its function as factory, and this as weights"
        raise TargetError("holds weights without an architecture", where=path, hint=hint)
    if full.suffix != ".py" and full.suffix.lower() not in _ARCHIVES:
        raise TargetError(
            f"has the ending {full.suffix!r}", where=path, hint=f"allowed are .py, {', '.join(_ARCHIVES)}"
        )
    if full.suffix != ".py" and part.weights is not None:
        raise TargetError("target.weights goes with a .py file and its factory", where=path, hint="leave it out")
    if full.suffix != ".py" and not full.is_file():
        said = "is a folder" if full.is_dir() else "no such model file"
        raise TargetError(said, where=path, hint="paths are relative to the plan file's folder")


def _from_archive(full: Path, where: str) -> tuple[Any, str, str]:
    import torch

    kind = held_in(full, where)
    fingerprint = hashlib.sha256(full.read_bytes()).hexdigest()
    if kind == "weights":
        hint = "name file.py as target.path, its function as target.factory, and this file as target.weights"
        raise TargetError("holds weights (or a pickled module) without an architecture", where=where, hint=hint)
    try:
        if kind == "export":
            check_export(full, where)
            return torch.export.load(full), fingerprint, "an exported torch program"
        check_script(full, where)
        with warnings.catch_warnings():
            # TorchScript is deprecated; a saved file is still read, and the description says what it is.
            warnings.filterwarnings("ignore", message=r"`torch\.jit\.load` is", category=DeprecationWarning)
            return torch.jit.load(str(full), map_location="cpu").eval(), fingerprint, "TorchScript, read only"
    except UnsafeArtifact:
        raise
    except Exception as error:
        raise TargetError(f"cannot be loaded: {_reason(error)}", where=where, hint="is it whole?") from error


def _from_factory(part: TargetPart, *, base: Path, train: Sample | None) -> tuple[Any, str, str]:
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):  # layers are born with random weights, and these are not the host's to draw
        torch.manual_seed(0)
        module, source, folder = call_factory(part, base=base, train=train)
    where = part.path or "target.path"
    if not isinstance(module, nn.Module):
        hint = "return the network, or take kind: python for a model of another kind"
        raise TargetError(f"returned a {type(module).__name__}, not a torch.nn.Module", where=where, hint=hint)
    unborn = [name for name, tensor in _tensors(module) if nn.parameter.is_lazy(tensor)]
    if unborn:
        hint = "put one batch through it in the factory, so that its layers know their sizes"
        raise TargetError(f"returned a network whose {unborn[0]} has no size yet", where=where, hint=hint)
    if part.weights is None:
        state = {key: tensor.detach().cpu().numpy() for key, tensor in module.state_dict().items()}
        content = hashlib.sha256()
        for key, array in state.items():
            content.update(f"{key}:{array.dtype}:{array.shape}".encode() + array.tobytes())
        return module.eval(), digest([source, content.hexdigest()]), f"a {type(module).__name__} from {where}"
    full = base / Path(part.weights).expanduser()
    with importable(folder):
        _load_weights(module, full, part.weights)
    weights = hashlib.sha256(full.read_bytes()).hexdigest()
    said = f"a {type(module).__name__} from {where} with the weights of {part.weights}"
    return module.eval(), digest([source, weights]), said


def _tensors(module: Any) -> list[tuple[str, Any]]:
    return [*module.named_parameters(), *module.named_buffers()]


def _load_weights(module: Any, full: Path, where: str) -> None:
    """Put a checkpoint into a module. Raises TargetError with the names that do not fit, before anything is used."""
    if full.suffix.lower() not in _WEIGHTS:
        raise TargetError(f"has the ending {full.suffix!r}", where=where, hint=f"weights are {', '.join(_WEIGHTS)}")
    if not full.is_file():
        raise TargetError("no such file", where=where, hint="paths are relative to the plan file's folder")
    state = _read_weights(full, where)
    mine = module.state_dict()
    wrong = [
        f"{key} is {tuple(state[key].shape)} in the file and {tuple(mine[key].shape)} in the network"
        for key in mine
        if key in state and state[key].shape != mine[key].shape
    ]
    wrong += [f"{key} is not in the file" for key in mine if key not in state]
    wrong += [f"{key} is not in the network" for key in state if key not in mine]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        hint = "take the factory that this checkpoint was made with"
        raise TargetError(f"does not fit the network: {'; '.join(wrong[:3])}{more}", where=where, hint=hint)
    module.load_state_dict(state)


def _read_weights(full: Path, where: str) -> dict[str, Any]:
    import torch

    if full.suffix.lower() == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(full))
        except (SafetensorError, OSError, ValueError) as error:
            raise TargetError(f"is not a safetensors file: {_reason(error)}", where=where) from None
    try:
        found = torch.load(full, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        message = "is a pickle of more than tensors, which can run any code when it is opened; it is not opened"
        raise UnsafeArtifact(message, where=where, hint="save module.state_dict() as safetensors") from None
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise TargetError(f"cannot be read as weights: {_reason(error)}", where=where, hint="is it whole?") from None
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise TargetError("holds no state dict (names and tensors)", where=where, hint="save module.state_dict()")
    return found


def _engine(loaded: Any, sample: Sample, options: NetworkOptions, *, name: str) -> TorchEngine:
    from steelyard.models.targets.torch_engine import torch_engine

    return torch_engine(loaded, sample.inputs, options, name=name)


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
