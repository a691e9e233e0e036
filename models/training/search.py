"""Look for a recipe's best settings by Optuna: on a grid, at random, or by TPE."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast, get_args

from steelyard.audit.canonical import digest, generator
from steelyard.audit.errors import PlanError, TargetError
from steelyard.audit.target import Groups, Sample
from steelyard.audit.types import Scalar, Task
from steelyard.models.recipes.recipe import Recipe, answers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Range", "Search", "Searched", "read_search"]

Method = Literal["grid", "random", "tpe"]
_KEYS = ("method", "trials", "space", "share")


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Numbers from `low` to `high`; `log` draws them evenly on that scale; `step` makes a grid of them."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    def grid(self) -> list[float]:
        """Every number of the grid. Raises PlanError without a step."""
        if self.step is None:
            raise PlanError("a grid needs a list of values, or low, high and step", where="search.space")
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        values = [self.low + self.step * place for place in range(count)]
        return [round(v) for v in values] if self.whole else values


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """`trials` settings out of `space` (values or a Range for each), judged on a `share` of the training rows."""

    method: Method
    trials: int
    space: Mapping[str, tuple[Scalar, ...] | Range]
    share: float = 0.2


def read_search(plain: Any, recipe: Recipe) -> Search:
    """The search that a plan's `search: {method, trials, space}` asks for. Raises PlanError for what does not fit.

    `space` gives a setting a list of values, or {low, high} with log: true or a step.
    """
    where = f"{recipe.id}: search"
    if not isinstance(plain, Mapping) or not isinstance(plain.get("space"), Mapping) or not plain["space"]:
        raise PlanError("names no space", where=where, hint="write search: {method: tpe, trials: 20, space: {lr: …}}")
    for key in plain:
        if key not in _KEYS:
            raise PlanError(f"has no key {key!r}", where=where, hint=f"it has {', '.join(_KEYS)}")
    method, trials, share = plain.get("method", "tpe"), plain.get("trials", 20), plain.get("share", 0.2)
    if method not in get_args(Method):
        raise PlanError(f"the method {method!r} is not known", where=where, hint=f"it is {', '.join(get_args(Method))}")
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise PlanError(f"trials is {trials!r}", where=where, hint="it is a whole number, at least 1")
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0.0 < share < 1.0:
        raise PlanError(f"share is {share!r}", where=where, hint="it is between 0 and 1")
    own = {f.name: getattr(recipe, f.name) for f in fields(recipe)}
    space = {str(name): _values(str(name), values, own, where) for name, values in plain["space"].items()}
    if method == "grid":
        for values in space.values():
            _ = values.grid() if isinstance(values, Range) else values
    return Search(method=method, trials=trials, space=space, share=float(share))


def _values(name: str, given: Any, own: Mapping[str, Any], where: str) -> tuple[Scalar, ...] | Range:
    if name not in own:
        raise PlanError(f"there is no setting {name!r}", where=where, hint=f"there are {', '.join(own)}")
    if isinstance(given, Sequence) and not isinstance(given, str) and len(given):
        return tuple(given)
    if not isinstance(given, Mapping) or not {"low", "high"} <= set(given) <= {"low", "high", "log", "step"}:
        hint = "it is a list of values, or {low: 0.0001, high: 0.01, log: true}"
        raise PlanError(f"space.{name} is {given!r}", where=where, hint=hint)
    try:
        low, high = float(given["low"]), float(given["high"])
        step = None if given.get("step") is None else float(given["step"])
    except (TypeError, ValueError) as error:
        raise PlanError(f"space.{name} has limits that are not numbers", where=where) from error
    log = bool(given.get("log", False))
    if not low < high or (log and (low <= 0 or step is not None)) or (step is not None and step <= 0):
        hint = "low is below high, on a log scale above 0 and without a step"
        raise PlanError(f"space.{name} runs from {low:g} to {high:g}", where=where, hint=hint)
    whole = isinstance(own[name], int) and not isinstance(own[name], bool)
    return Range(low=low, high=high, log=log, step=step, whole=whole)


@dataclass(frozen=True, kw_only=True)
class Searched(Recipe):
    """`recipe` with the settings that a search found best on held-out training rows, then trained on all of them.

    The measure is accuracy, R² or −log perplexity. What was chosen is said by a UserWarning, which becomes a note of
    the card. `search` is the plan's own, as JSON.
    """

    libraries: ClassVar[tuple[str, ...]] = ("optuna",)
    extra: ClassVar[str] = "search"

    recipe: Recipe
    search: str

    family = property(lambda self: self.recipe.family)
    name = property(lambda self: self.recipe.name)
    variant = property(lambda self: self.recipe.variant)
    version = property(lambda self: self.recipe.version)
    tasks = property(lambda self: self.recipe.tasks)
    modalities = property(lambda self: self.recipe.modalities)
    summary = property(lambda self: f"{self.recipe.summary}, its settings searched")

    @property
    def settings(self) -> Mapping[str, Scalar]:
        """Those of the recipe inside, and the search."""
        return {**self.recipe.settings, "search": self.search}

    def check_installed(self, where: str = "references") -> None:
        """What the recipe needs, and optuna."""
        self.recipe.check_installed(where)
        super().check_installed(where)

    def fit(self, train: Sample, seed: int) -> Any:
        """The best settings on all training rows."""
        best, said = self.best(train, seed)
        warnings.warn(said, UserWarning, stacklevel=2)
        return best.fit(train, seed)

    def best(self, train: Sample, seed: int) -> tuple[Recipe, str]:
        """The recipe with the best settings, and a sentence about them. Raises TargetError where no trial ended."""
        import optuna

        how = read_search(json.loads(self.search), self.recipe)
        learn, judge = _parted(train, how.share, seed)

        def measure(trial: Any) -> float:
            chosen = {name: _suggest(trial, name, values) for name, values in how.space.items()}
            return _measure(replace(self.recipe, **chosen), learn, judge, seed)

        loud = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            study = optuna.create_study(direction="maximize", sampler=_sampler(how, seed))
            study.optimize(measure, n_trials=how.trials, catch=(TargetError, PlanError))
        finally:
            optuna.logging.set_verbosity(loud)
        ended = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
        if not ended:
            raise TargetError(f"none of {len(study.trials)} trials of the search could be trained", where=self.id)
        chosen = ", ".join(f"{name} {_short(value)}" for name, value in study.best_params.items())
        said = (
            f"of {len(study.trials)} trials ({how.method}) the best has {chosen}:"
            f" {_short(study.best_value)} on {judge.n:,} held-out training rows"
        )
        return replace(self.recipe, **study.best_params), said


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _sampler(how: Search, seed: int) -> Any:
    from optuna import samplers

    value = int(generator(seed, "search").integers(2**32 - 1))
    if how.method == "grid":
        grid = {name: v.grid() if isinstance(v, Range) else list(v) for name, v in how.space.items()}
        return samplers.GridSampler(grid, seed=value)
    return samplers.RandomSampler(seed=value) if how.method == "random" else samplers.TPESampler(seed=value)


def _suggest(trial: Any, name: str, values: tuple[Scalar, ...] | Range) -> Scalar:
    if not isinstance(values, Range):
        return cast("Scalar", trial.suggest_categorical(name, list(values)))
    if values.whole:
        step = 1 if values.step is None else int(values.step)
        return cast("int", trial.suggest_int(name, int(values.low), int(values.high), log=values.log, step=step))
    return cast("float", trial.suggest_float(name, values.low, values.high, log=values.log, step=values.step))


def _measure(recipe: Recipe, learn: Sample, judge: Sample, seed: int) -> float:
    model = recipe.fit(learn, seed)
    if judge.task is Task.LANGUAGE:
        return -math.log(model.perplexity(judge.inputs))
    return float(model.score(judge.inputs, answers(judge)))


def _parted(train: Sample, share: float, seed: int) -> tuple[Sample, Sample]:
    """All but a share of the rows, and that share: of every class, or of the clusters."""
    import numpy as np
    import pandas as pd

    from steelyard.models.data.held_out import held_out_rows

    labels = None if train.labels is None or train.task is Task.REGRESSION else pd.Series(train.labels)
    clusters = None if train.clusters is None else pd.Series(train.clusters)
    held = held_out_rows(len(train.inputs), share, seed, labels=labels, clusters=clusters, where="search")
    return _part(train, np.flatnonzero(~held)), _part(train, np.flatnonzero(held))


def _part(sample: Sample, rows: NDArray[np.int64]) -> Sample:
    take: Any = sample.inputs.iloc if hasattr(sample.inputs, "iloc") else sample.inputs
    groups: dict[str, Groups] = {n: replace(g, codes=g.codes[rows]) for n, g in sample.groups.items()}
    return replace(
        sample,
        inputs=take[rows],
        labels=None if sample.labels is None else sample.labels[rows],
        weights=None if sample.weights is None else sample.weights[rows],
        clusters=None if sample.clusters is None else sample.clusters[rows],
        ids=None if sample.ids is None else sample.ids[rows],
        groups=groups,
        fingerprint=digest([sample.fingerprint, rows.tolist()]),
        training=None,
    )
