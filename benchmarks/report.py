"""How long does a usual audit's report take, and how large is it? Bundled data, two models, two attributes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from steelyard.audit import audit
from steelyard.audit.plan import DataPart
from steelyard.models.cache import train_reference
from steelyard.models.data.load import load_samples
from steelyard.models.recipes.registry import resolve


def main() -> list[dict[str, Any]]:
    samples = load_samples(DataPart(dataset="adult", groups=["sex", "race"]), target=None, base=Path())
    assert samples.train is not None
    models = {
        recipe.id: train_reference(recipe, samples.train, 0)[0]
        for recipe in resolve("baseline", modality=samples.train.modality)
    }
    test = samples.test
    groups = test.inputs[["sex", "race"]]
    record = audit(models.pop("baseline/boosting"), test.inputs, test.labels, groups=groups, references=models)
    from steelyard.reports.render import render_bytes

    render_bytes(record, "html")  # templates compiled, modules loaded
    started = time.process_time()
    page = render_bytes(record, "html")
    spent = time.process_time() - started
    return [
        {"name": "report, HTML from a record", "value": spent, "unit": "CPU-s", "target": 3.0, "ok": spent <= 3},
        {"name": "report, size", "value": len(page) / 1e6, "unit": "MB", "target": 2.0, "ok": len(page) <= 2e6},
    ]


if __name__ == "__main__":
    for row in main():
        print(f"{row['name']}: {row['value']:.3g} {row['unit']}")
