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
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from steelyard.audit.canonical import FrozenMap, digest
from steelyard.audit.errors import TargetError
from steelyard.audit.target import Sample
from steelyard.audit.types import Modality, Task
from steelyard.models.recipes.boosting import Boosting
from steelyard.models.recipes.cnn import CnnRecipe
from steelyard.models.recipes.fine_tune import FineTune
from steelyard.models.recipes.mlp import MlpRecipe
from steelyard.models.recipes.networks import NetworkRecipe
from steelyard.models.recipes.recipe import Recipe
from steelyard.models.recipes.words import Words
from steelyard.models.training.kept import kept_ensemble, shadow_key

if TYPE_CHECKING:
    from torch import Tensor

    from steelyard.models.training.ensemble import Ensemble

__all__ = ["Shadows", "nearest_recipe", "train_shadows"]

_AS_PYTORCH_DOES = MlpRecipe()  # settings of the loop that an ensemble does not know keep these values
_FREE = {"epochs", "batch", "lr", "dropout", "validation", "precision", "device", "threads", "track"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadows:
    """K trained models. `members` (K, n) says which rows of the pool each learnt from; `way`, how they were trained.

    `way` is batched, loop (networks one by one), heads (on features computed once) or fit (the recipe, K times).
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

    Networks that `train_ensemble` can train are trained by it, on inputs prepared once for the whole pool. Of an
    encoder whose body is frozen the heads alone are trained, on features computed once: what K fits give, to rounding.
    Anything else is fitted K times. The same arguments give the same models. With a `folder`, networks are kept there
    under a digest of all that they depend on. `jobs` are processes, where models are trained one by one.
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
    if type(recipe) is FineTune and recipe.mode == "frozen" and not recipe.augment:  # copies differ from part to part
        return _heads(recipe, pool, members, seed, jobs, folder)
    return _fitted(recipe, pool, members, seed, jobs)


def _plainly(recipe: NetworkRecipe) -> bool:
    """Whether it is trained by Adam alone, without what the ensemble does not know."""
    known = {name for name in recipe.training.__dataclass_fields__ if name not in _FREE}
    return all(getattr(recipe, name) == getattr(_AS_PYTORCH_DOES, name) for name in known)


def _networks(
    recipe: NetworkRecipe, pool: Sample, members: NDArray[np.bool_], seed: int, jobs: int, folder: Path | None
) -> Shadows:
    from steelyard.models.networks.architectures import build
    from steelyard.models.networks.determinism import draw_seed
    from steelyard.models.training.ensemble import EnsembleSettings, train_ensemble

    prepare = recipe.prepared(pool)
    rows = recipe.rows(prepare, pool)
    module = partial(build, recipe.architecture, **recipe.configuration(prepare, len(pool.classes)))
    how = EnsembleSettings(epochs=recipe.epochs, batch=recipe.batch, lr=recipe.lr, jobs=jobs, device=recipe.device)
    seeds = [draw_seed(seed, f"shadow {k}") for k in range(len(members))]

    def train() -> Ensemble:
        return train_ensemble(module, rows.inputs, rows.labels, members, seeds=seeds, settings=how)

    ensemble = kept_ensemble(folder, shadow_key(recipe, pool, members, seed), module, train)
    ask = partial(_asked, ensemble, prepare)
    return Shadows(members=members, classes=pool.classes, way=ensemble.way, ask=ask)


def _heads(
    recipe: FineTune, pool: Sample, members: NDArray[np.bool_], seed: int, jobs: int, folder: Path | None
) -> Shadows:
    """The body's features of the pool are computed once, and so are those of each set of rows that is asked about."""
    from copy import deepcopy

    import torch

    from steelyard.models.recipes.networks import survey_weights
    from steelyard.models.training.batches import Rows
    from steelyard.models.training.heads import train_heads

    network, rows = recipe.start(pool, seed)
    body, seeds = cast("Any", network.module), _fit_seeds(seed, len(members))

    def features(inputs: Any) -> Tensor:
        ready = network.prepare(inputs)
        return recipe.features(network, Rows(inputs=ready, labels=ready[:, 0], pad=rows.pad))

    def new_head(own: int) -> Any:
        head = deepcopy(body.head)
        recipe.renew(head, own)
        return head

    own = features(pool.inputs)

    def train() -> Ensemble:
        places = [torch.from_numpy(np.flatnonzero(mine)) for mine in members]
        weights = [survey_weights(_part(pool, mine)) for mine in members]
        return train_heads(
            new_head,
            body.dropout,
            own,
            [replace(rows.take(place), weights=w) for place, w in zip(places, weights, strict=True)],
            places,
            recipe.loop_settings(network),
            seeds=seeds,
            what=recipe.objective(network),
            jobs=jobs,
        )

    ensemble = kept_ensemble(folder, shadow_key(recipe, pool, members, seed), lambda: new_head(0), train)
    ask = partial(_asked, ensemble, lambda inputs: own if inputs is pool.inputs else features(inputs))
    return Shadows(members=members, classes=pool.classes, way="heads", ask=ask)


def _asked(ensemble: Ensemble, ready: Callable[[Any], Tensor], inputs: Any) -> NDArray[np.float64]:
    """(K, n, classes) the softmax of what the ensemble says of inputs made `ready`."""
    from scipy.special import softmax

    from steelyard.models.networks.determinism import torch_threads

    with torch_threads():
        chances: NDArray[np.float64] = softmax(ensemble.logits(ready(inputs)).astype(np.float64), axis=2)
    return chances


def _fitted(recipe: Recipe, pool: Sample, members: NDArray[np.bool_], seed: int, jobs: int) -> Shadows:
    import joblib

    seeds = _fit_seeds(seed, len(members))
    work = (joblib.delayed(_fit)(recipe, pool, own, s) for own, s in zip(members, seeds, strict=True))
    models = list(joblib.Parallel(n_jobs=jobs)(work))

    def ask(inputs: Any) -> NDArray[np.float64]:
        return np.stack([_chances(model, inputs, pool.classes) for model in models])

    return Shadows(members=members, classes=pool.classes, way="fit", ask=ask)


def _fit_seeds(seed: int, count: int) -> list[int]:
    """The seed of each model that is fitted by itself."""
    from steelyard.audit.canonical import generator

    return [int(generator(seed, f"shadow {k}").integers(2**31 - 1)) for k in range(count)]


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
