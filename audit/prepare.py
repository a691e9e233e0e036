"""From a plan to what will run: the samples, the candidate, the references, and the probes that fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import PlanError, SteelyardError
from steelyard.audit.plan import Plan
from steelyard.audit.plan_file import check
from steelyard.audit.plan_source import PlanSource
from steelyard.audit.target import Groups, Probe, References, Sample, Target
from steelyard.audit.types import Inapplicable, MetricSpec
from steelyard.audit.units import Unit, misfit, unit_key

if TYPE_CHECKING:
    from steelyard.audit.console import Progress
    from steelyard.models.cache import TrainingCard
    from steelyard.models.data.load import Samples
    from steelyard.models.recipes.recipe import Recipe

__all__ = ["ChosenRecipe", "Prepared", "Sense", "chosen_recipes", "numeric_versions", "prepare", "sense"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sense:
    """A plan that makes sense: its probes with their settings, and every metric id with its meaning."""

    probes: tuple[Probe, ...]
    specs: Mapping[str, MetricSpec]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenRecipe:
    """A recipe that the plan's references name, and in which of their entries (from 0)."""

    recipe: Recipe
    entry: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """All that a run needs. `cards` tell how each reference was trained."""

    plan: Plan
    specs: Mapping[str, MetricSpec]
    samples: Samples
    candidate: Target
    references: References
    cards: Mapping[str, TrainingCard]
    units: tuple[Unit, ...]
    inapplicable: tuple[Inapplicable, ...]


_REFERENCES = "references"


def sense(source: PlanSource) -> Sense:
    """Check the plan against the probes, metrics and recipes there are, before any data is read."""
    from steelyard.models.recipes.registry import recipe_names
    from steelyard.probes.registry import all_probes, metric_specs, select

    specs = metric_specs()
    check(
        source.plan,
        source,
        metrics=specs,
        probes=[kind.id for kind in all_probes()],
        recipes=recipe_names(),
        settings={kind.id: [field.name for field in fields(kind)] for kind in all_probes()},
    )
    for i, entry in enumerate(source.plan.probes):
        try:
            select([entry])
        except PlanError as error:
            raise source.error(("probes", i), error.message, error.hint) from None
    probes = tuple(beside_the_plan(probe, source.base) for probe in select(source.plan.probes))
    return Sense(probes=probes, specs=specs)


def beside_the_plan(probe: Probe, base: Path) -> Probe:
    """The probe with the files that its settings name looked for beside the plan, as every path in a plan is."""
    named = {name: str(base / getattr(probe, name)) for name in probe.files if getattr(probe, name)}
    return replace(probe, **named) if named else probe


def prepare(source: PlanSource, *, trust_pickle: bool = False, progress: Progress) -> Prepared:
    """Read the data, load the candidate, train the references or take them from the cache, list the units."""
    from steelyard.models.data.load import load_samples
    from steelyard.models.targets.load import load_target
    from steelyard.models.training.watch import watching

    plan = source.plan
    meant = sense(source)
    progress.start("reading the data", None)
    samples = load_samples(plan.data, target=plan.target, base=source.base, seed=plan.audit.seed)
    test = with_reference_groups(samples.test, plan.data.reference_groups)
    samples = replace(samples, test=replace(test, training=samples.train))
    chosen = chosen_recipes(source, samples.train)  # before the candidate, whose training can take long
    progress.start("loading the candidate", None)
    with watching(lambda done: progress.within(done.share, str(done))):
        candidate = load_target(
            plan.target,
            base=source.base,
            sample=samples.test,
            train=samples.train,
            seed=plan.audit.seed,
            trust_pickle=trust_pickle,
        )
    references, cards = train_references(source, chosen, samples.train, progress)
    progress.done()
    return arrange(plan, meant, samples, candidate, references, cards)


def with_reference_groups(sample: Sample, named: Mapping[str, str]) -> Sample:
    """The sample with the groups the plan compares others with. Raises PlanError where there is no such group."""
    groups: dict[str, Groups] = dict(sample.groups)
    for attribute, level in named.items():
        if attribute not in groups:
            raise PlanError(f"data.reference_groups names {attribute!r}, which is not one of data.groups")
        if level not in groups[attribute].levels:
            known = ", ".join(groups[attribute].levels[:8])
            raise PlanError(f"data.reference_groups: {attribute!r} has no group {level!r}", hint=f"it has {known}")
        groups[attribute] = replace(groups[attribute], reference=level)
    return replace(sample, groups=groups)


def train_references(
    source: PlanSource, chosen: Mapping[str, ChosenRecipe], train: Sample | None, progress: Progress
) -> tuple[References, dict[str, TrainingCard]]:
    """The references that the plan names, each trained on the training rows or taken from the cache.

    What goes wrong in one of them is raised with its line in the plan.
    """
    from steelyard.models.cache import train_reference
    from steelyard.models.training.watch import watching

    if chosen and train is None:
        raise PlanError("references are trained on data.train, and the plan names none", hint="add data.train")
    targets: dict[str, Target] = {}
    cards: dict[str, TrainingCard] = {}
    progress.start("training references", len(chosen))
    for name, one in chosen.items():
        progress.advance(name)
        assert train is not None  # noqa: S101 (checked above)
        with watching(lambda done, name=name: progress.within(done.share, f"{name}, {done}")):  # type: ignore[misc]
            try:
                target, card = train_reference(one.recipe, train, source.plan.audit.seed, name=name)
            except SteelyardError as error:
                raise _at_entry(source, one.entry, error, name) from error
        targets[target.name], cards[target.name] = target, card
    return References(targets), cards


def chosen_recipes(source: PlanSource, train: Sample | None) -> dict[str, ChosenRecipe]:
    """The recipes of the plan's references, by the name that findings call them.

    Files that settings name are looked for beside the plan. Raises PlanError, with the line of the entry, for a
    setting that is not known or that has no sense, and where two references have one name.
    """
    from steelyard.models.recipes.registry import resolve

    modality, task = (None, None) if train is None else (train.modality, train.task)
    chosen: dict[str, ChosenRecipe] = {}
    for i, entry in enumerate(source.plan.named_references):
        try:
            found = resolve(
                entry.name,
                variant=entry.variant,
                settings=entry.settings,
                modality=modality,
                task=task,
                base=source.base,
                where=_REFERENCES,
            )
        except SteelyardError as error:
            raise _at_entry(source, i, error) from error
        for recipe in found:
            called = entry.called if len(found) == 1 else f"{entry.called}/{recipe.name}"
            name = called if entry.called else recipe.id
            if name in chosen and chosen[name].recipe != recipe:
                raise source.error(
                    (_REFERENCES, i), f"two references are called {name!r}", "tell them apart by as: a name"
                )
            chosen[name] = ChosenRecipe(recipe=recipe, entry=i)
    return chosen


def _at_entry(source: PlanSource, i: int, error: SteelyardError, name: str = "") -> SteelyardError:
    """The error with the line of `references[i]`, and the name of the reference that it is about."""
    said = "" if error.where == _REFERENCES else f"{error.where}: "
    whose = f"{name}, " if name and name not in error.where else ""
    message = f"references[{i}] {whose}{said}{error.message}"
    return type(error)(message, where=source.where((_REFERENCES, i)), hint=error.hint)


def arrange(
    plan: Plan,
    meant: Sense,
    samples: Samples,
    candidate: Target,
    references: References,
    cards: Mapping[str, TrainingCard],
) -> Prepared:
    """The units that fit, and by name those that do not. Predictions are made once for all probes."""
    from steelyard.models.targets.memoised import freeze

    if candidate.name in references:
        raise PlanError(f"the candidate and a reference are both called {candidate.name!r}")
    sample = samples.test
    frozen = References({name: freeze(target, sample) for name, target in references.items()})
    mine = freeze(candidate, sample)
    own: TrainingCard | None = getattr(mine.model, "card", None)  # where Steelyard trained the candidate itself
    units: list[Unit] = []
    unfit: list[Inapplicable] = []
    for target in (mine, *frozen.values()):
        beside = frozen if target is mine else References()
        for probe in meant.probes:
            if probe.about_data and target is not mine:
                continue
            why = misfit(probe, target, sample)
            if why is not None:
                unfit.append(why)
                continue
            key = unit_key(probe, target, beside, sample, seed=plan.audit.seed, versions=numeric_versions())
            units.append(Unit(probe=probe, target=target, references=beside, key=key))
    return Prepared(
        plan=plan,
        specs=meant.specs,
        samples=samples,
        candidate=mine,
        references=frozen,
        cards=cards if own is None else {mine.name: own, **cards},
        units=tuple(units),
        inapplicable=tuple(unfit),
    )


def numeric_versions() -> dict[str, Any]:
    """The versions a number can depend on."""
    import platform
    import sys
    from importlib.metadata import version

    names = ["steelyard", "numpy", "scipy", "pandas", "scikit-learn"]
    names += [name for name in ("torch", "transformers", "onnxruntime") if name in sys.modules]
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
