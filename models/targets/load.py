"""From the plan's `target` to a target that has answered: the one door through which models come in."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.audit.canonical import digest
from steelyard.audit.errors import PluginError, SteelyardError, TargetError
from steelyard.audit.plan import TargetPart
from steelyard.audit.target import Sample, Target
from steelyard.models.targets.again import Again, clone_again, fitted_again
from steelyard.models.targets.memoised import Memoised, freeze, named_by_behaviour

if TYPE_CHECKING:
    from steelyard.models.cache import ModelCache

__all__ = ["KINDS", "NEEDS", "PLUGIN_GROUP", "load_target", "wrap"]

KINDS = ("sklearn", "predictions", "python", "recipe", "torch", "onnx", "transformers")
NEEDS = {
    "torch": ("torch", ("torch", "safetensors")),
    "onnx": ("onnx", ("onnxruntime",)),
    "transformers": ("text", ("torch", "transformers", "safetensors")),
}
"""kind: the extra that brings its libraries, and these."""
PLUGIN_GROUP = "steelyard.targets"


def load_target(
    part: TargetPart,
    *,
    base: Path,
    sample: Sample,
    train: Sample | None = None,
    cache: ModelCache | None = None,
    seed: int = 0,
    trust_pickle: bool = False,
    name: str = "candidate",
) -> Memoised:
    """The model that `part` names, with its answers for `sample` already made and checked.

    `base` is the folder of the plan file, `train` the training sample (for recipes, and factories that ask for it).
    `trust_pickle` adds to the plan's own word. Raises TargetError, UnsafeArtifact, PlanError or PluginError.
    """
    _check_installed(part.kind)
    match part.kind:
        case "sklearn":
            return freeze(_from_file(part, base=base, sample=sample, trust_pickle=trust_pickle, name=name), sample)
        case "predictions":
            if sample.reduced is not None:
                from steelyard.models.targets.reduced import reduced_target

                return reduced_target(part, sample, name=name)
            from steelyard.models.targets.predictions import predictions_target

            return freeze(predictions_target(part, sample, name=name), sample)
        case "python":
            from steelyard.models.targets.python import call_factory, importable, takes_train

            model, source, folder = call_factory(part, base=base, train=train)
            with importable(folder):  # a model may import its neighbours only when it is first asked
                adapted = _adapt(model, sample, name=name, kind="python", threshold=part.threshold)
                if takes_train(part, base=base):
                    adapted = fitted_again(adapted, _factory_again(part, base=base, name=name))
                else:
                    adapted = fitted_again(adapted, clone_again(adapted))
                frozen = freeze(adapted, sample)
            return named_by_behaviour(replace(frozen, name=name), source)
        case "recipe":
            from steelyard.models.targets.recipe import recipe_target

            return freeze(recipe_target(part, train, sample, base=base, seed=seed, cache=cache, name=name), sample)
        case "torch":
            from steelyard.models.targets.torch import torch_target

            return freeze(torch_target(part, base=base, sample=sample, train=train, name=name), sample)
        case "onnx":
            from steelyard.models.targets.onnx import onnx_target

            return freeze(onnx_target(part, base=base, sample=sample, name=name), sample)
        case "transformers":
            from steelyard.models.targets.transformers import transformers_target

            return freeze(transformers_target(part, base=base, sample=sample, name=name), sample)
    return freeze(_from_plugin(part, base=base, sample=sample, train=train, name=name), sample)


def wrap(model: Any, sample: Sample, *, name: str = "candidate") -> Memoised:
    """A model from Python (an estimator, an object with `predict`, a function, a `Target`), with its answers made."""
    if isinstance(model, Target):
        return replace(freeze(model, sample), name=name)
    adapted = _adapt(model, sample, name=name, kind="python")
    frozen = freeze(fitted_again(adapted, clone_again(adapted)), sample)
    return named_by_behaviour(frozen, f"{type(model).__module__}.{type(model).__qualname__}")


def _check_installed(kind: str) -> None:
    extra, libraries = NEEDS.get(kind, ("", ()))
    missing = [library for library in libraries if find_spec(library) is None]
    if missing:
        message = f"the kind {kind!r} needs {' and '.join(missing)}, which is not installed"
        raise TargetError(message, where="target.kind", hint=f"pip install 'steelyard[{extra}]'")


def _factory_again(part: TargetPart, *, base: Path, name: str) -> Again:
    from steelyard.models.targets.python import call_factory, importable

    def again(train: Sample, seed: int) -> Target:
        model, source, folder = call_factory(part, base=base, train=train, seed=seed)
        with importable(folder):
            adapted = _adapt(model, train, name=name, kind="python", threshold=part.threshold)
            return named_by_behaviour(freeze(fitted_again(adapted, again), train), source)

    return again


def _adapt(model: Any, sample: Sample, *, name: str, kind: str, threshold: float | None = None) -> Target:
    from steelyard.models.targets.sklearn import estimator_target

    if isinstance(model, Target):
        return model
    if isinstance(model, type):
        raise TargetError(
            f"is the class {model.__name__}, not a model", where=name, hint="give a fitted instance of it"
        )
    if callable(getattr(model, "predict", None)):
        return estimator_target(model, sample, name=name, kind=kind, threshold=threshold)
    if callable(model):
        from steelyard.models.targets.call import called_model

        said = f"the function {getattr(model, '__name__', type(model).__name__)}"
        asked = called_model(model, sample, name=name)
        return estimator_target(asked, sample, name=name, kind=kind, threshold=threshold, description=said)
    raise TargetError(
        f"a {type(model).__name__} is no model",
        where=name,
        hint="give an object with predict, or a function of the inputs",
    )


def _from_file(part: TargetPart, *, base: Path, sample: Sample, trust_pickle: bool, name: str) -> Target:
    from steelyard.models.loading import load_model
    from steelyard.models.targets.sklearn import estimator_target

    if part.path is None:
        raise TargetError("names no file", where="target.path", hint="name the model's .skops file")
    full = base / Path(part.path).expanduser()
    model = load_model(full, trusted=part.trusted, trust_pickle=part.trust_pickle or trust_pickle, where=part.path)
    bytes_digest = hashlib.sha256(full.read_bytes()).hexdigest()
    if part.threshold is not None:
        bytes_digest = digest([bytes_digest, part.threshold])
    if not callable(getattr(model, "predict", None)):
        raise TargetError(f"holds a {type(model).__name__}, which has no predict", where=part.path)
    target = estimator_target(
        model, sample, name=name, kind="sklearn", fingerprint=bytes_digest, threshold=part.threshold
    )
    return fitted_again(target, clone_again(target))


def _from_plugin(part: TargetPart, *, base: Path, sample: Sample, train: Sample | None, name: str) -> Target:
    """A third party's kind: its entry point is called as `load(part, base=…, sample=…, train=…, name=…) -> Target`."""
    found = [entry for entry in entry_points(group=PLUGIN_GROUP) if entry.name == part.kind]
    if not found:
        raise TargetError(
            f"the kind {part.kind!r} is not available in this version",
            where="target.kind",
            hint=f"kinds: {', '.join(KINDS)}",
        )
    entry = found[0]
    try:
        target = entry.load()(part, base=base, sample=sample, train=train, name=name)
    except SteelyardError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise PluginError(f"{entry.value} does not load: {type(error).__name__}: {text}", where=PLUGIN_GROUP) from error
    if not isinstance(target, Target):
        raise PluginError(f"{entry.value} returned a {type(target).__name__}, not a Target", where=PLUGIN_GROUP)
    return target
