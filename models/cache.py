"""Train a reference once: the model is kept under a hash of everything that it depends on.

An entry is two files, `<key>.skops` and `<key>.json` (its card, with the model file's SHA-256). Both are written beside
their place and moved there, so that a reader sees a whole file or none; an entry that does not fit its card is trained
again.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from steelyard.audit.canonical import FrozenMap, digest, sha256
from steelyard.audit.errors import SteelyardError, TargetError
from steelyard.audit.target import Sample
from steelyard.audit.types import Scalar, Task
from steelyard.models.recipes.recipe import Recipe
from steelyard.models.recipes.registry import resolve
from steelyard.models.targets.sklearn import SklearnTarget, estimator_target
from steelyard.models.threads import one_thread

# What fitted recipes hold beyond skops' own list; the model file's digest is checked before it is opened.
_RECIPE_TYPES = (
    "functools.partial",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.utils.validation.check_array",
    "steelyard.models.recipes.randomised.GroupThresholds",
    "steelyard.models.recipes.randomised.ModelMixture",
    "steelyard.models.recipes.tidy.TidyColumns",
)

__all__ = ["ModelCache", "TrainingCard", "default_cache", "train_reference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCard:
    """How a reference came to be. `metrics` are on the training rows (accuracy or R²), so they flatter the model.

    `seconds` are CPU-seconds of the training, `cached` whether this call found it ready; neither is in the fingerprint.
    """

    recipe: str
    fingerprint: str
    settings: Mapping[str, Scalar]
    seed: int
    n_train: int
    seconds: float
    metrics: Mapping[str, float]
    notes: tuple[str, ...] = ()
    cached: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", FrozenMap(self.settings))
        object.__setattr__(self, "metrics", FrozenMap(self.metrics))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCache:
    """Trained models in `folder`; without one nothing is kept. A folder that cannot be written is not an error."""

    folder: Path | None = field(default=None)

    def read(self, key: str) -> tuple[Any, TrainingCard] | None:
        """The model and its card; None where there is no entry, or none that is whole."""
        if self.folder is None:
            return None
        from steelyard.models.loading import load_model

        try:
            plain = json.loads((self.folder / f"{key}.json").read_bytes())
            path = self.folder / f"{key}.skops"
            if sha256(path.read_bytes()) != plain.pop("sha256"):
                return None
            card = TrainingCard(**{**plain, "notes": tuple(plain["notes"]), "cached": True})
            return load_model(path, trusted=_RECIPE_TYPES), card
        except (OSError, ValueError, KeyError, TypeError, SteelyardError):
            return None

    def write(self, key: str, model: Any, card: TrainingCard) -> None:
        """Keep a model. A full disk or a read-only folder costs the next run the training, and nothing else."""
        if self.folder is None:
            return
        import skops.io as sio

        data = sio.dumps(model)
        plain = {**asdict(card), "settings": dict(card.settings), "metrics": dict(card.metrics), "sha256": sha256(data)}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write_whole(self.folder / f"{key}.skops", data)
            _write_whole(self.folder / f"{key}.json", json.dumps(plain, sort_keys=True).encode())
        except OSError:
            return


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
) -> tuple[SklearnTarget, TrainingCard]:
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
    recipe.check_installed()
    keep = default_cache() if cache is None else cache
    key = _key(recipe, train, seed)
    ready = keep.read(key)
    if ready is None:
        ready = _train(recipe, train, seed, key)
        keep.write(key, *ready)
    model, card = ready
    target = estimator_target(
        model,
        train if sample is None else sample,
        name=name or recipe.id,
        kind="recipe",
        fingerprint=key,
        description="; ".join([recipe.summary or recipe.id, *card.notes]),
    )
    return replace(target, fingerprint=key), card


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
        score = float(model.score(train.inputs, _labels(train)))
    notes = tuple(dict.fromkeys(_note(w) for w in caught if issubclass(w.category, (ConvergenceWarning, UserWarning))))
    return model, TrainingCard(
        recipe=recipe.id,
        fingerprint=key,
        settings=recipe.settings,
        seed=seed,
        n_train=train.n,
        seconds=time.process_time() - started,
        metrics={"r2" if train.task is Task.REGRESSION else "accuracy": score},
        notes=notes,
    )


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
