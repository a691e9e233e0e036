"""Which recipes there are, and what a name in a plan means."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from steelyard.audit.errors import PlanError, PluginError
from steelyard.audit.types import Modality, Task
from steelyard.models.controls.catalogue import CONTROLS
from steelyard.models.recipes.adapter import ADAPTER
from steelyard.models.recipes.boosting import Boosting
from steelyard.models.recipes.causal import CausalRecipe
from steelyard.models.recipes.cnn import CnnRecipe
from steelyard.models.recipes.compressed import COMPRESSED
from steelyard.models.recipes.defended import DEFENDED
from steelyard.models.recipes.encoder import EncoderRecipe
from steelyard.models.recipes.fair import FAIR
from steelyard.models.recipes.fair_networks import FAIR_NETWORKS
from steelyard.models.recipes.fine_tune import FineTune
from steelyard.models.recipes.logistic import Logistic
from steelyard.models.recipes.mlp import MlpRecipe
from steelyard.models.recipes.private import PRIVATE
from steelyard.models.recipes.recipe import Recipe
from steelyard.models.recipes.resnet import ResNetRecipe
from steelyard.models.recipes.robust import ROBUST
from steelyard.models.recipes.words import Words

__all__ = ["PLUGIN_GROUP", "RECIPES", "all_recipes", "recipe_names", "resolve"]

PLUGIN_GROUP = "steelyard.recipes"
NETWORKS: tuple[Recipe, ...] = (MlpRecipe(), CnnRecipe(), ResNetRecipe(), EncoderRecipe(), FineTune(), CausalRecipe())
VARIANTS: tuple[Recipe, ...] = (*ROBUST, *PRIVATE, *FAIR_NETWORKS, *COMPRESSED, *ADAPTER)
RECIPES: tuple[Recipe, ...] = (
    *(Logistic(), Boosting(), Words()),
    *FAIR,
    *NETWORKS,
    *VARIANTS,
    *DEFENDED,
    *CONTROLS,
)


@cache
def all_recipes() -> tuple[Recipe, ...]:
    """Ours and those that others add by the entry-point group `steelyard.recipes` (a `Recipe`, or a class of it).

    Raises PluginError naming an entry point that does not load.
    """
    return (*RECIPES, *_plugins())


def recipe_names() -> tuple[str, ...]:
    """Every name that `resolve` knows: families, ids, and short names that one plain recipe alone has."""
    recipes = all_recipes()
    short = [recipe.name for recipe in recipes if recipe.variant == "standard"]
    families = dict.fromkeys(recipe.family for recipe in recipes)
    ids = [recipe.id for recipe in recipes]
    return tuple(dict.fromkeys([*families, *ids, *(name for name in short if short.count(name) == 1)]))


def resolve(
    name: str,
    *,
    variant: str = "standard",
    settings: Mapping[str, Any] | None = None,
    modality: Modality | None = None,
    task: Task | None = None,
    base: Path | None = None,
    where: str = "references",
) -> tuple[Recipe, ...]:
    """The recipes that `name` means: "baseline" is its whole family, "baseline/logistic" and "logistic" one of it.

    "robust/cnn" and "cnn" with the variant "robust" are the same. `settings` replace the recipe's own. Of a family only
    those for the `modality` and the `task` are taken, where these are given. Files that settings name are looked for
    in the folder `base`.
    Raises PlanError, with the nearest name there is, for a name, a variant or a setting that is not known, a family of
    which nothing fits, and where a library that the recipe needs is not installed.
    """
    recipes = all_recipes()
    if variant != "standard":
        _check_variant(name, variant, recipes, where)
        found = tuple(r for r in recipes if r.variant == variant and r.name == name.rpartition("/")[2])
    else:
        found = tuple(
            r
            for r in recipes
            if name == r.id or (not r.alias and (name == r.family or (name == r.name and r.variant == "standard")))
        )
    if not found:
        close = difflib.get_close_matches(name, recipe_names(), n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(recipe_names())}"
        raise PlanError(f"no recipe is called {name!r}", where=where, hint=hint)
    given = dict(settings or {})
    if len(found) > 1 or name == found[0].family:
        found = _fitting(name, found, modality, task, where)
        found = tuple(recipe for recipe in found if not lacking(recipe, given)) or found
    for recipe in found:
        for setting in lacking(recipe, given)[:1]:
            raise PlanError(f"{recipe.id} has no {setting}", where=where, hint=f"write {recipe.name}: {{{setting}: …}}")
    made = tuple(_with_settings(recipe, _placed(recipe, given, base), where) for recipe in found)
    for recipe in made:
        recipe.check_installed(where)
    return made


def _placed(recipe: Recipe, settings: Mapping[str, Any], base: Path | None) -> dict[str, Any]:
    """The settings with the files they name found in `base`; what is not there stays as it is (a model of a hub)."""
    placed = dict(settings)
    for name in getattr(recipe, "files", ()):
        said = placed.get(name)
        if base is None or not isinstance(said, str) or not said:
            continue
        path, colon, rest = said.partition(":")  # translate: file.py:function
        if (base / path).exists():
            placed[name] = f"{base / path}{colon}{rest}"
    return placed


def _check_variant(name: str, variant: str, recipes: Sequence[Recipe], where: str) -> None:
    short = name.rpartition("/")[2]
    of_variant = [r.name for r in recipes if r.variant == variant]
    if not of_variant:
        known = ", ".join(repr(v) for v in dict.fromkeys(recipe.variant for recipe in recipes))
        raise PlanError(f"the variant {variant!r} is not known", where=where, hint=f"there are {known}")
    if short not in of_variant and any(short == r.name for r in recipes):
        hint = f"{', '.join(of_variant)} have one"
        raise PlanError(f"{name!r} has no variant {variant!r}", where=where, hint=hint)


def _fitting(
    name: str, found: tuple[Recipe, ...], modality: Modality | None, task: Task | None, where: str
) -> tuple[Recipe, ...]:
    fit = tuple(
        r for r in found if (modality is None or modality in r.modalities) and (task is None or task in r.tasks)
    )
    if not fit:
        there = ", ".join(f"{r.id} ({', '.join(sorted(r.modalities))})" for r in found)
        what = " ".join(str(x) for x in (modality, task) if x is not None)
        raise PlanError(f"nothing of {name!r} fits {what} data", where=where, hint=f"it has {there}")
    return fit


def lacking(recipe: Recipe, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The settings that the recipe cannot do without (its `required`) and that are not given."""
    needed: tuple[str, ...] = getattr(recipe, "required", ())
    return tuple(name for name in needed if not settings.get(name) and not getattr(recipe, name))


def _with_settings(recipe: Recipe, settings: Mapping[str, Any], where: str) -> Recipe:
    """The recipe with the plan's settings, and in a search where they ask for one.

    A recipe checks their values itself, when it is made.
    """
    known = [f.name for f in fields(recipe)]
    for key in settings:
        if key not in known and key != "search":
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"its settings are {', '.join(known) or 'none'}"
            raise PlanError(f"{recipe.id} has no setting {key!r}", where=where, hint=hint)
    own = {key: _of_kind(recipe, key, value, where) for key, value in settings.items() if key != "search"}
    try:
        made = replace(recipe, **own)
    except (TypeError, ValueError) as error:
        raise PlanError(f"{recipe.id}: {' '.join(str(error).split())[:200]}", where=where) from error
    if "search" not in settings:
        return made
    from steelyard.models.training.search import Searched, read_search

    read_search(settings["search"], made)
    return Searched(recipe=made, search=json.dumps(settings["search"], sort_keys=True))


def _of_kind(recipe: Recipe, key: str, value: Any, where: str) -> Any:
    """The value, as the kind that the recipe's own value has: YAML reads 2e-5 as a word and 1 as a whole number."""
    own = getattr(recipe, key)
    kind = type(own)
    if kind not in {bool, int, float, str} or type(value) is kind:
        return value
    if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    said = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[kind]
    raise PlanError(f"{recipe.id}: {key} is {value!r}, not {said}", where=where, hint=f"such as {own!r}")


def _plugins() -> list[Recipe]:
    loaded = []
    for entry in entry_points(group=PLUGIN_GROUP):
        try:
            found = entry.load()
            recipe = found() if isinstance(found, type) else found
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            raise PluginError(
                f"{entry.value} does not load: {type(error).__name__}: {text}", where=PLUGIN_GROUP
            ) from error
        if not isinstance(recipe, Recipe):
            raise PluginError(f"{entry.value} is a {type(recipe).__name__}, not a Recipe", where=PLUGIN_GROUP)
        loaded.append(recipe)
    return loaded
