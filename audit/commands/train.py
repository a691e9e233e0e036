"""`steelyard train`: train a plan's references, so that later runs find them in the cache."""

from __future__ import annotations

import argparse

from steelyard.audit.commands.opening import open_plan
from steelyard.audit.commands.options import add_plan
from steelyard.audit.console import Console, apart
from steelyard.audit.errors import PlanError

HELP = "train the references of a plan, or find them in the cache"


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of `train`."""
    add_plan(parser)


def execute(args: argparse.Namespace, console: Console) -> int:
    """Train what the plan names and print what each reference is."""
    from steelyard.audit.prepare import chosen_recipes, sense, train_references
    from steelyard.models.data.load import load_samples

    source = open_plan(args.plan, console)
    sense(source)
    if not source.plan.references:
        raise PlanError("the plan names no references", where=str(source.path), hint="add references: [baseline]")
    progress = console.progress()
    try:
        with apart():
            progress.start("reading the data", None)
            plan = source.plan
            samples = load_samples(plan.data, target=plan.target, base=source.base, seed=plan.audit.seed)
            chosen = chosen_recipes(source, samples.train)
            _, cards = train_references(source, chosen, samples.train, progress)
    finally:
        progress.done()
    rows = []
    for name, card in cards.items():
        peak = f", peak memory so far {card.cost['peak_memory']:,.0f} MiB" if "peak_memory" in card.cost else ""
        how = "from the cache" if card.cached else f"trained in {card.seconds:.1f} CPU-s{peak}"
        rows.append((name, how, card.fingerprint[:16]))
    console.table(("reference", "how", "fingerprint"), rows)
    return 0
