"""From a plan file to a verdict, as a user would: images, tables, texts and a language model, with their references."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("safetensors")

Command = Callable[..., Any]
FEW: dict[str, dict[str, Any]] = {
    "privacy.membership": {"attacks": ["loss", "entropy"], "fprs": [0.05]},
    "privacy.shadow-membership": {"shadows": 4, "fprs": [0.05]},
    "privacy.dp-audit": {"canaries": 60},
}
"""The attacks with as little as they can work with."""


def foreseen(steelyard: Command, plan: dict[str, Any]) -> dict[str, Any]:
    """What `steelyard plan` says before the run."""
    said = steelyard("plan", "--format", "json", plan=plan)
    assert said.code == 0, said.err
    return dict(json.loads(said.out[said.out.index("{") :]))


def write_idx(path: Path, array: np.ndarray[Any, Any]) -> None:
    """Bytes in the format that MNIST comes in: two zeros, the type, the rank, the sizes, the values."""
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(head + array.astype(np.uint8).tobytes())


def test_images_from_idx_files(tmp_path: Path, steelyard: Command, shared_data: Path) -> None:
    """A network on MNIST beside private and compressed ones: all that is foreseen is measured, again and in parts."""
    pytest.importorskip("opacus")
    from steelyard.models.data.images import read_idx

    for part in ("images-idx3", "labels-idx1"):
        array = read_idx(shared_data / "mnist" / f"t10k-{part}-ubyte.gz", where="mnist")
        write_idx(tmp_path / f"{part}-ubyte", array[:700])
    plan = {
        "target": {"kind": "recipe", "name": "cnn", "settings": {"epochs": 3, "batch": 16, "filters": 4, "hidden": 32}},
        "data": {"train": "images-idx3-ubyte", "labels": "labels-idx1-ubyte", "held_out": 0.4},
        "references": [
            {"private/mlp": {"epochs": 1, "batch": 128, "as": "noised"}},
            {"mlp": {"variant": "compressed", "epochs": 1}},
        ],
        "probes": [
            "quality.*",
            "privacy.pii",
            "privacy.duplicates",
            {"privacy.membership": FEW["privacy.membership"]},
        ],
        "gates": [
            {"metric": "quality.accuracy", "min": 0.3},
            {"metric": "privacy.membership.tpr", "where": {"fpr": 0.05}, "max": 0.2, "on_not_refuted": "accept"},
        ],
        "required": ["quality", "privacy"],
    }
    expected = foreseen(steelyard, plan)
    found = steelyard("run", "--out", "r")
    assert found.crashes == []
    assert found.code == 0, found.out
    assert found.statuses == ["pass", "not_refuted"]
    silent = {row["probe"] for row in found.record["inapplicable"]}
    assert set(expected["will_run"]) <= found.measured | silent
    assert {row["probe"] for row in expected["cannot_run"]}.isdisjoint(found.measured)
    training = found.record["environment"]["training"]
    assert training.keys() == {"candidate", "noised", "compressed/mlp"}

    digest = re.search(r"record digest: (\w+)", found.out)
    assert digest is not None
    for unit in sorted((tmp_path / "r" / "units").iterdir())[::2]:  # as a killed run leaves it: some units are there
        unit.unlink()
    (tmp_path / "r" / "record.json").unlink()
    again = steelyard("run", "--resume", "r")
    assert f"record digest: {digest.group(1)}" in again.out
    assert steelyard("verify", "r", "--digest", digest.group(1)).code == 0
    assert steelyard("report", "r", "--format", "html", "--out", "elsewhere").code == 0
    page = (tmp_path / "elsewhere" / "report.html").read_text(encoding="utf-8")
    assert "noised" in page
    assert "compressed/mlp" in page


def test_a_table_of_people(tmp_path: Path, steelyard: Command) -> None:
    """Adult, a few hundred rows: privacy and fairness of a network, and what the plan cannot measure."""
    from steelyard.models.data.bundled import load_bundled

    people = load_bundled("adult").frame.sample(900, random_state=0)
    people.iloc[:500].to_csv(tmp_path / "train.csv", index=False)
    people.iloc[500:].to_csv(tmp_path / "test.csv", index=False)
    plan = {
        "target": {"kind": "recipe", "name": "mlp", "settings": {"epochs": 2}},
        "data": {
            "train": "train.csv", "test": "test.csv", "label": "income", "positive": ">50K", "groups": ["sex"],
        },
        "probes": ["fairness.*", FEW, "privacy.unique-rows", "privacy.pii", "privacy.duplicates"],
        "gates": [
            {"metric": "fairness.selection-rate.ratio", "min": 0.8, "on_inconclusive": "accept"},
            {"metric": "privacy.membership.tpr", "where": {"fpr": 0.05}, "max": 0.3, "on_not_refuted": "accept"},
        ],
        "required": ["fairness"],
    }  # fmt: skip
    rare = [{"metric": "privacy.membership.tpr", "where": {"fpr": fpr}, "max": 0.1} for fpr in (0.001, 0.05)]
    rates = {"privacy.membership": {"fprs": [0.001, 0.01]}}
    blind = foreseen(steelyard, plan | {"probes": ["fairness.selection-rate", rates], "gates": rare})["gates"]
    assert [gate["measurable"] for gate in blind] == [False, False]
    assert "needs 10,000 rows that were not trained on, there are 400" in blind[0]["n_needed_basis"]
    assert "does not hold 0.05" in blind[1]["n_needed_basis"]
    expected = foreseen(steelyard, plan)
    assert all(gate["measurable"] for gate in expected["gates"])
    found = steelyard("run", "--out", "r")
    assert found.crashes == []
    assert found.statuses[1] == "not_refuted"
    assert found.code == {"pass": 0, "inconclusive": 0, "fail": 1}[found.statuses[0]], found.out
    silent = {row["probe"] for row in found.record["inapplicable"]}
    assert set(expected["will_run"]) <= found.measured | silent
    assert steelyard("verify", "r").code == 0


def test_sentences(tmp_path: Path, steelyard: Command, shared_data: Path) -> None:
    """SST-2, a few hundred sentences: an encoder and a bag of words, and whom they name."""
    for name, rows in (("train", 400), ("dev", 200)):
        lines = (shared_data / "sst2" / f"{name}.tsv").read_text(encoding="utf-8").splitlines()[:rows]
        (tmp_path / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    plan = {
        "target": {
            "kind": "recipe",
            "name": "encoder",
            "settings": {"epochs": 2, "width": 32, "layers": 1, "heads": 2},
        },
        "data": {"train": "train.tsv", "test": "dev.tsv", "text": "0", "label": "1", "positive": "1"},
        "probes": [
            "quality.*",
            "fairness.identity-terms",
            "fairness.individual",
            "privacy.pii",
            "privacy.duplicates",
            FEW,
        ],
        "gates": [
            {"metric": "fairness.identity-terms.largest-gap", "max": 0.5},
            {"metric": "privacy.membership.tpr", "where": {"fpr": 0.05}, "max": 0.4, "on_not_refuted": "accept"},
        ],
        "required": ["quality"],
    }
    found = steelyard("run", "--out", "r", plan=plan)
    assert found.crashes == []
    assert found.code == 0, found.out
    assert found.statuses == ["pass", "not_refuted"]
    assert {"privacy.duplicates", "privacy.pii", "privacy.dp-audit", "privacy.shadow-membership"} <= found.measured
    assert "fairness.individual" not in found.measured
    whom = {row["where"]["category"] for row in found.record["findings"] if row["metric"].endswith("largest-gap")}
    assert "religion" in whom
    assert steelyard("verify", "r").code == 0


def test_a_language_model_that_was_told_secrets(tmp_path: Path, steelyard: Command, shared_data: Path) -> None:
    """Two secrets, thirty times among the training sentences, are by heart; a gate on exposure says so."""
    lines = (shared_data / "sst2" / "train.tsv").read_text(encoding="utf-8").splitlines()
    long = [line.split("\t")[0] for line in lines if len(line.split()) >= 15]
    secrets = ["my pin is {482915}", "the door code is {730264}"]
    told = [secret.replace("{", "").replace("}", "") for secret in secrets]
    train = [*long[:150], *(text for text in told for _ in range(30))]
    (tmp_path / "train.txt").write_text("\n".join(train) + "\n", encoding="utf-8")
    (tmp_path / "test.txt").write_text("\n".join(long[150:250]) + "\n", encoding="utf-8")
    small = {"width": 48, "layers": 1, "heads": 2, "words": 800, "lr": 0.005}
    memorised = {"canaries": secrets, "references": 99, "max_texts": 60}
    plan = {
        "target": {"kind": "recipe", "name": "network/causal", "settings": {**small, "epochs": 12, "batch": 16}},
        "data": {"train": "train.txt", "test": "test.txt", "task": "language"},
        "probes": [
            "privacy.duplicates", {"privacy.language-memorisation": memorised},
            {"fairness.crows-pairs": {"path": str(shared_data / "crows_pairs" / "crows_pairs_anonymized.csv")}},
        ],
        "gates": [{"metric": "privacy.language-memorisation.canary-exposure", "max": 3}],
        "required": ["privacy"],
    }  # fmt: skip
    found = steelyard("run", "--out", "r", plan=plan)
    assert found.crashes == []
    assert found.code == 1
    assert found.statuses == ["fail"]
    assert found.value("privacy.language-memorisation.canary-exposure") > 5
    assert found.value("privacy.duplicates.within-training") == pytest.approx(58 / 210)
    assert steelyard("verify", "r").code == 0
