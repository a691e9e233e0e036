"""What the end-to-end tests share: plans written to a folder, and the command run on them as a user would."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from steelyard.audit.cli import main


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """An exit code, what was printed, and the record where there is one."""

    code: int
    out: str
    err: str
    record: dict[str, Any]

    def value(self, metric: str, **where: Any) -> float:
        """The value of the candidate's first finding of a metric at a place."""
        rows = [r for r in self.record["findings"] if r["metric"] == metric and r["target"] == "candidate"]
        fitting = [r for r in rows if where.items() <= r["where"].items()]
        return float(fitting[0]["estimate"]["value"])

    @property
    def crashes(self) -> list[str]:
        """Failures that are defects of ours, whatever the model was."""
        return [row["reason"] for row in self.record["failures"] if "crashed" in row["reason"]]

    @property
    def measured(self) -> set[str]:
        """The probes that gave the candidate at least one row of any kind but 'not applicable'."""
        rows = [*self.record["findings"], *self.record["failures"]]
        return {row["probe"] for row in rows if row["target"] == "candidate"}

    @property
    def statuses(self) -> list[str]:
        """The gates' verdicts, in order."""
        return [verdict["status"] for verdict in self.record["verdicts"]]


Command = Callable[..., Outcome]


@pytest.fixture
def steelyard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`steelyard("run", "--out", "r", plan={…})` writes the plan beside the data, and runs the command there."""
    monkeypatch.chdir(tmp_path)

    def command(*words: str, plan: dict[str, Any] | None = None) -> Outcome:
        if plan is not None:
            Path("audit.yaml").write_text(yaml.safe_dump({"audit": {"seed": 3}, **plan}), encoding="utf-8")
        capsys.readouterr()
        code = main([*words, "-q"])
        said = capsys.readouterr()
        at = words[words.index("--out") + 1] if "--out" in words else ""
        record = Path(at, "record.json") if at else None
        found = json.loads(record.read_bytes()) if record is not None and record.exists() else {}
        return Outcome(code=code, out=said.out, err=said.err, record=found)

    return command
