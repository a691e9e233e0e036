"""Shadow models: many models trained as a target was, each on its own part of a pool of rows.

What they say about a row, half of them having learnt from it and half not, is what membership attacks and estimates of
memorisation are made of (Shokri et al. 2017, arXiv:1610.05820; Carlini et al. 2022, arXiv:2112.03570).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from steelyard.audit.canonical import FrozenMap, digest
from steelyard.audit.errors import TargetError
from steelyard.audit.target import Sample
from steelyard.audit.types import Modality, Task
from steelyard.models.recipes.boosting import Boosting
from steelyard.models.recipes.cnn import CnnRecipe
from steelyard.models.recipes.mlp import MlpRecipe
from steelyard.models.recipes.networks import NetworkRecipe
from steelyard.models.recipes.recipe import Recipe
from steelyard.models.recipes.words import Words

__all__ = ["Shadows", "nearest_recipe", "train_shadows"]

_AS_PYTORCH_DOES = MlpRecipe()  # settings of the loop that an ensemble does not know keep these values
_FREE = {"epochs", "batch", "lr", "dropout", "validation", "precision", "device", "threads", "track"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadows:
    """K trained models. `members` (K, n) says which rows of the pool each learnt from; `way`, how they were trained.

    `way` is batched, loop (networks one by one) or fit (the recipe, K times).
    """

    members: NDArray[np.bool_]
    classes: tuple[str, ...]
    way: str
    ask: Callable[[Any], NDArray[np.float64]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.members)

    def probabilities(self, inputs: Any) -> NDArray[np.float64]:
        """(K, n, classes) of inputs as the pool has them, in the order of `classes`."""
        return self.ask(inputs)

    def scores(self, inputs: Any, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """(K, n) the probability of each row's label (a class code)."""
        found: NDArray[np.float64] = self.ask(inputs)[:, np.arange(len(labels)), labels]
        return found


def nearest_recipe(sample: Sample) -> Recipe:
    """What to train in the place of a target that cannot be trained again: cheap enough to be trained many times.

    A multilayer perceptron for tables and images, words counted for texts; trees for a regression.
    """
    if sample.modality is Modality.TEXT:
        return Words()
    return Boosting() if sample.task is Task.REGRESSION else MlpRecipe()


def train_shadows(
    recipe: Recipe, pool: Sample, members: NDArray[np.bool_], seed: int, *, jobs: int = 1, folder: Path | None = None
) -> Shadows:
    """K models of `recipe`, model k on the rows of `pool` where `members[k]` is true.

    Networks that `train_ensemble` can train are trained by it, on inputs prepared once for the whole pool; anything
    else is fitted K times. The same arguments give the same models. With a `folder`, networks are kept there under a
    digest of all that they depend on. `jobs` are processes, where models are trained one by one.
    Raises TargetError for a pool that is not for classification, and members that do not fit it.
    """
    if pool.labels is None or pool.task not in recipe.tasks or not pool.classes:
        raise TargetError("shadow models are trained on rows with a class label", where=recipe.id)
    if members.dtype != np.bool_ or members.ndim != 2 or members.shape[1] != pool.n or not len(members):
        raise TargetError(
            f"members is {members.dtype} {members.shape}; it is boolean (models, {pool.n})", where="shadows"
        )
    if pool.weights is None and type(recipe) in (MlpRecipe, CnnRecipe) and _plainly(cast("NetworkRecipe", recipe)):
        return _networks(cast("NetworkRecipe", recipe), pool, members, seed, jobs, folder)
    return _fitted(recipe, pool, members, seed, jobs)


def _plainly(recipe: NetworkRecipe) -> bool:
    """Whether it is trained by Adam alone, without what the ensemble does not know."""
    known = {name for name in recipe.training.__dataclass_fields__ if name not in _FREE}
    return all(getattr(recipe, name) == getattr(_AS_PYTORCH_DOES, name) for name in known)


def _networks(
    recipe: NetworkRecipe, pool: Sample, members: NDArray[np.bool_], seed: int, jobs: int, folder: Path | None
) -> Shadows:
    from scipy.special import softmax

    from steelyard.models.networks.architectures import build
    from steelyard.models.networks.determinism import draw_seed, torch_threads
    from steelyard.models.training.ensemble import EnsembleSettings, train_ensemble

    prepare = recipe.prepared(pool)
    rows = recipe.rows(prepare, pool)
    module = partial(build, recipe.architecture, **recipe.configuration(prepare, len(pool.classes)))
    path = None if folder is None else folder / f"{_key(recipe, pool, members, seed)}.safetensors"
    found = None if path is None else _read(path, module)
    if found is None:
        found = train_ensemble(
            module,
            rows.inputs,
            rows.labels,
            members,
            seeds=[draw_seed(seed, f"shadow {k}") for k in range(len(members))],
            settings=EnsembleSettings(
                epochs=recipe.epochs, batch=recipe.batch, lr=recipe.lr, jobs=jobs, device=recipe.device
            ),
        )
        if path is not None:
            _write(path, found)
    ensemble = found

    def ask(inputs: Any) -> NDArray[np.float64]:
        with torch_threads():
            chances: NDArray[np.float64] = softmax(ensemble.logits(prepare(inputs)).astype(np.float64), axis=2)
        return chances

    return Shadows(members=members, classes=pool.classes, way=ensemble.way, ask=ask)


def _fitted(recipe: Recipe, pool: Sample, members: NDArray[np.bool_], seed: int, jobs: int) -> Shadows:
    import joblib

    from steelyard.audit.canonical import generator

    seeds = [int(generator(seed, f"shadow {k}").integers(2**31 - 1)) for k in range(len(members))]
    work = (joblib.delayed(_fit)(recipe, pool, own, s) for own, s in zip(members, seeds, strict=True))
    models = list(joblib.Parallel(n_jobs=jobs)(work))

    def ask(inputs: Any) -> NDArray[np.float64]:
        return np.stack([_chances(model, inputs, pool.classes) for model in models])

    return Shadows(members=members, classes=pool.classes, way="fit", ask=ask)


def _fit(recipe: Recipe, pool: Sample, own: NDArray[np.bool_], seed: int) -> Any:
    from steelyard.models.threads import one_thread

    with one_thread():
        return recipe.fit(_part(pool, own), seed)


def _chances(model: Any, inputs: Any, classes: tuple[str, ...]) -> NDArray[np.float64]:
    """(n, classes); a class that the model has never seen has the probability 0."""
    given = np.asarray(model.predict_proba(inputs), dtype=np.float64)
    chances = np.zeros((len(given), len(classes)))
    chances[:, [classes.index(str(name)) for name in model.classes_]] = given
    return chances


def _part(pool: Sample, own: NDArray[np.bool_]) -> Sample:
    """The rows of the pool where `own` is true."""
    inputs = pool.inputs[own] if isinstance(pool.inputs, np.ndarray) else pool.inputs.iloc[np.flatnonzero(own)]

    def cut(values: Any) -> Any:
        return None if values is None else values[own]

    return replace(
        pool,
        inputs=inputs,
        labels=cut(pool.labels),
        weights=cut(pool.weights),
        clusters=cut(pool.clusters),
        ids=cut(pool.ids),
        groups=FrozenMap({name: replace(groups, codes=groups.codes[own]) for name, groups in pool.groups.items()}),
        fingerprint=digest([pool.fingerprint, hashlib.sha256(np.packbits(own).tobytes()).hexdigest()]),
    )


def _key(recipe: Recipe, pool: Sample, members: NDArray[np.bool_], seed: int) -> str:
    from importlib.metadata import version

    return digest(
        {
            "recipe": [recipe.id, recipe.version, dict(recipe.settings)],
            "pool": pool.fingerprint,
            "members": [list(members.shape), hashlib.sha256(np.packbits(members).tobytes()).hexdigest()],
            "seed": seed,
            "versions": [version("torch"), version("numpy"), version("steelyard")],
        }
    )


def _read(path: Path, module: Callable[[], Any]) -> Any:
    """The ensemble kept at `path`; None where there is none that is whole."""
    import json

    from safetensors import SafetensorError, safe_open

    from steelyard.models.training.checkpoint import training_key
    from steelyard.models.training.ensemble import Ensemble

    try:
        with safe_open(path, framework="pt") as file:
            plain = json.loads((file.metadata() or {})["shadows"])
            state = {name: file.get_tensor(name) for name in sorted(file.keys())}
        losses = np.asarray(plain["losses"])
        if plain["digest"] != training_key(plain["way"], state):
            return None
        return Ensemble(module=module().eval(), state=state, losses=losses, way=plain["way"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def _write(path: Path, ensemble: Any) -> None:
    """Keep the ensemble; a disk that is full costs the next call the training, and nothing else."""
    import json
    import os
    import tempfile

    from safetensors.torch import save

    from steelyard.models.training.checkpoint import training_key

    state = {name: value.cpu().contiguous() for name, value in sorted(ensemble.state.items())}
    plain = {"way": ensemble.way, "losses": ensemble.losses.tolist(), "digest": training_key(ensemble.way, state)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(save(state, metadata={"shadows": json.dumps(plain)}))
        os.replace(name, path)
    except OSError:
        return
