"""Train a reference once: the model is kept under a hash of everything that it depends on.

An entry is two files, `<key>.skops` (or `<key>.safetensors`, where it is a network) and `<key>.json`, its card with the
model file's SHA-256. Both are written beside their place and moved there, so that a reader sees a whole file or none;
an entry that does not fit its card is trained again. While a network is trained, its checkpoints lie in `partial/`.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steelyard.audit.canonical import digest, sha256
from steelyard.audit.errors import SteelyardError, TargetError
from steelyard.audit.target import Sample
from steelyard.audit.types import Modality, Task
from steelyard.models.controls.catalogue import TRUSTED_TYPES
from steelyard.models.recipes.recipe import Recipe
from steelyard.models.recipes.registry import resolve
from steelyard.models.targets.trained import TrainedEstimator, TrainedLanguage, trained_target
from steelyard.models.threads import one_thread
from steelyard.models.training.card import TrainingCard, environment
from steelyard.models.training.watch import keeping

# What fitted recipes hold beyond skops' own list; the model file's digest is checked before it is opened.
_RECIPE_TYPES = (
    "functools.partial",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.utils.validation.check_array",
    "steelyard.models.recipes.coarse.RoundedScores",
    "steelyard.models.recipes.coarse.TopScores",
    "steelyard.models.recipes.randomised.GroupThresholds",
    "steelyard.models.recipes.randomised.ModelMixture",
    "steelyard.models.recipes.tidy.TidyColumns",
    *TRUSTED_TYPES,
)

__all__ = ["ModelCache", "TrainingCard", "default_cache", "train_reference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCache:
    """Trained models in `folder`; without one nothing is kept. A folder that cannot be written is not an error."""

    folder: Path | None = field(default=None)

    def read(self, key: str) -> tuple[Any, TrainingCard] | None:
        """The model and its card; None where there is no entry, or none that is whole."""
        if self.folder is None:
            return None
        try:
            plain = json.loads((self.folder / f"{key}.json").read_bytes())
            wanted = plain.pop("sha256")
            card = TrainingCard(**{**plain, "cached": True})
            for ending, load in _LOADERS.items():
                path = self.folder / f"{key}.{ending}"
                if path.is_file() and sha256(path.read_bytes()) == wanted:
                    return load(path), card
        except (OSError, ValueError, KeyError, TypeError, SteelyardError):
            return None
        return None

    def write(self, key: str, model: Any, card: TrainingCard) -> None:
        """Keep a model. A full disk or a read-only folder costs the next run the training, and nothing else."""
        if self.folder is None:
            return
        if callable(getattr(model, "to_bytes", None)):
            ending, data = "safetensors", model.to_bytes()
        else:
            import skops.io as sio

            ending, data = "skops", sio.dumps(model)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write_whole(self.folder / f"{key}.{ending}", data)
            _write_whole(
                self.folder / f"{key}.json",
                json.dumps({**card.plain(), "sha256": sha256(data)}, sort_keys=True).encode(),
            )
        except OSError:
            return

    def partial(self, key: str) -> Path | None:
        """Where the checkpoints of an unfinished training are kept."""
        return None if self.folder is None else self.folder / "partial" / key


def _load_estimator(path: Path) -> Any:
    from steelyard.models.loading import load_model

    return load_model(path, trusted=_RECIPE_TYPES)


def _load_network(path: Path) -> Any:
    from steelyard.models.networks.network import Network

    return Network.from_bytes(path.read_bytes(), where=path.name)


_LOADERS = {"skops": _load_estimator, "safetensors": _load_network}


def default_cache() -> ModelCache:
    """The folder that STEELYARD_CACHE names, else steelyard/ in the user's cache folder (XDG_CACHE_HOME, ~/.cache)."""
    named = os.environ.get("STEELYARD_CACHE")
    if named:
        return ModelCache(folder=Path(named).expanduser() / "models")
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return ModelCache(folder=Path(home).expanduser() / "steelyard" / "models")


def train_reference(
    recipe: Recipe | str,
    train: Sample,
    seed: int,
    cache: ModelCache | None = None,
    *,
    sample: Sample | None = None,
    name: str = "",
) -> tuple[TrainedEstimator | TrainedLanguage, TrainingCard]:
    """A reference trained on `train`, or found in the cache (`default_cache()` where none is given), with its card.

    The fingerprint is a hash of recipe, version, settings, seed, training data and library versions: the same one means
    the same predictions. `sample` is what it will be asked about (its classes are those of `train`).
    Raises PlanError for an unknown name, TargetError where the recipe cannot be trained on these rows.
    """
    if isinstance(recipe, str):
        found = resolve(recipe)
        if len(found) > 1:
            raise TargetError(f"{recipe!r} is a family of {len(found)} recipes; one is trained at a time")
        recipe = found[0]
    if train.task not in recipe.tasks:
        tasks = ", ".join(sorted(recipe.tasks))
        raise TargetError(f"is for {tasks}, and the task is {train.task.value}", where=recipe.id)
    if train.modality is not Modality.PREDICTIONS and train.modality not in recipe.modalities:
        kinds = ", ".join(sorted(recipe.modalities))
        raise TargetError(f"is for {kinds} data, and this is {train.modality.value}", where=recipe.id)
    recipe.check_installed()
    keep = default_cache() if cache is None else cache
    key = _key(recipe, train, seed)
    ready = keep.read(key)
    if ready is None:
        partial = keep.partial(key)
        with keeping(partial, None if keep.folder is None else keep.folder / "journals" / key):
            ready = _train(recipe, train, seed, key)
        keep.write(key, *ready)
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
    model, card = ready
    asked = train if sample is None else sample
    target = trained_target(
        model,
        asked,
        recipe=recipe,
        again=lambda rows, other: train_reference(recipe, rows, other, cache, sample=asked, name=name)[0],
        name=name or recipe.id,
        fingerprint=key,
        description="; ".join([recipe.summary or recipe.id, *card.notes]),
    )
    return target, card


def _key(recipe: Recipe, train: Sample, seed: int) -> str:
    from importlib.metadata import version

    names = ("scikit-learn", "numpy", "scipy", "pandas", "skops", *recipe.libraries)
    return digest(
        {
            "recipe": [type(recipe).__module__, recipe.id, recipe.variant, recipe.version],
            "settings": dict(recipe.settings),
            "seed": seed,
            "train": train.fingerprint,
            "versions": {name: version(name) for name in names},
        }
    )


def _train(recipe: Recipe, train: Sample, seed: int, key: str) -> tuple[Any, TrainingCard]:
    """Fit on one thread: sums of floats over several come out in another order, and the model with them."""
    from sklearn.exceptions import ConvergenceWarning

    started = time.process_time()
    with warnings.catch_warnings(record=True) as caught, one_thread():
        warnings.simplefilter("always")
        try:
            model = recipe.fit(train, seed)
        except ValueError as error:
            text = " ".join(str(error).split())[:300]
            raise TargetError(f"cannot be trained on these rows: {text}", where=recipe.id) from error
        metrics = _metrics(model, train)
    notes = tuple(dict.fromkeys(_note(w) for w in caught if issubclass(w.category, (ConvergenceWarning, UserWarning))))
    curves = getattr(model, "curves", None)
    seconds = time.process_time() - started
    memory = getattr(curves, "peak_memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return model, TrainingCard(
        recipe=recipe.id,
        fingerprint=key,
        settings=recipe.settings,
        seed=seed,
        n_train=train.n,
        seconds=seconds,
        metrics=metrics,
        notes=(*notes, *getattr(curves, "notes", ())),
        curves=getattr(curves, "epochs", ()),
        data=train.fingerprint,
        environment=environment(recipe.libraries, getattr(curves, "device", "cpu")),
        cost={"seconds": seconds, "peak_memory": memory},
    )


def _metrics(model: Any, train: Sample) -> dict[str, float]:
    if train.task is Task.LANGUAGE:
        return {"perplexity": model.perplexity(train.inputs)}
    return {"r2" if train.task is Task.REGRESSION else "accuracy": float(model.score(train.inputs, _labels(train)))}


def _labels(train: Sample) -> Any:
    from steelyard.models.recipes.recipe import answers

    return answers(train)


def _note(caught: warnings.WarningMessage) -> str:
    from sklearn.exceptions import ConvergenceWarning

    if issubclass(caught.category, ConvergenceWarning):
        return "the fit did not converge within its iterations"
    return " ".join(str(caught.message).split())[:200]


def _write_whole(path: Path, data: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
