"""Which recipes there are, and what a name in a plan means."""

from __future__ import annotations

import difflib
from functools import cache
from importlib.metadata import entry_points

from steelyard.audit.errors import PlanError, PluginError
from steelyard.models.recipes.boosting import Boosting
from steelyard.models.recipes.fair import FAIR
from steelyard.models.recipes.logistic import Logistic
from steelyard.models.recipes.recipe import Recipe

__all__ = ["PLUGIN_GROUP", "RECIPES", "all_recipes", "recipe_names", "resolve"]

PLUGIN_GROUP = "steelyard.recipes"
RECIPES: tuple[Recipe, ...] = (Logistic(), Boosting(), *FAIR)
_LATER = ("robust", "private")


@cache
def all_recipes() -> tuple[Recipe, ...]:
    """Ours and those that others add by the entry-point group `steelyard.recipes` (a `Recipe`, or a class of it).

    Raises PluginError naming an entry point that does not load.
    """
    return (*RECIPES, *_plugins())


def recipe_names() -> tuple[str, ...]:
    """Every name that `resolve` knows: families, ids, and short names that one recipe alone has. No variants."""
    recipes = [recipe for recipe in all_recipes() if recipe.variant == "standard"]
    short = [recipe.name for recipe in recipes]
    families = dict.fromkeys(recipe.family for recipe in recipes)
    ids = [recipe.id for recipe in recipes]
    return tuple(dict.fromkeys([*families, *ids, *(name for name in short if short.count(name) == 1)]))


def resolve(name: str, *, variant: str = "standard", where: str = "references") -> tuple[Recipe, ...]:
    """The recipes that `name` means: "baseline" is its whole family, "baseline/logistic" and "logistic" one of it.

    Raises PlanError, with the nearest name there is, for a name or a variant that is not known or not available yet,
    and where a library that the recipe needs is not installed.
    """
    recipes = all_recipes()
    if variant != "standard" and not any(recipe.variant == variant for recipe in recipes):
        later = " yet" if variant in _LATER else ""
        known = ", ".join(repr(v) for v in dict.fromkeys(recipe.variant for recipe in recipes))
        raise PlanError(f"the variant {variant!r} is not available{later}", where=where, hint=f"there are {known}")
    found = tuple(r for r in recipes if r.variant == variant and name in {r.family, r.id, r.name})
    for recipe in found:
        recipe.check_installed(where)
    if found:
        return found
    if variant != "standard" and name in recipe_names():
        have = ", ".join(r.name for r in recipes if r.variant == variant)
        raise PlanError(f"{name!r} has no variant {variant!r}", where=where, hint=f"{have} have one")
    if name.partition("/")[0] in _LATER:
        known = ", ".join(repr(known) for known in recipe_names())
        raise PlanError(
            f"references of the family {name!r} are not available yet", where=where, hint=f"there are {known}"
        )
    close = difflib.get_close_matches(name, recipe_names(), n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(recipe_names())}"
    raise PlanError(f"no recipe is called {name!r}", where=where, hint=hint)


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
