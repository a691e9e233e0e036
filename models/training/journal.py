"""The numbers of each epoch, written as they come: JSON lines, and TensorBoard or MLflow where they are asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from steelyard.audit.errors import PlanError

__all__ = ["Journal"]

_FILE = "metrics.jsonl"


class Journal:
    """`<folder>/metrics.jsonl`: one line {"epoch": 1, "loss": …} for each epoch; nothing without a folder.

    With `track` tensorboard the same goes to event files in `<folder>/tensorboard` (./tensorboard without a folder);
    with mlflow to a run of its own, wherever MLflow is set up to keep it. Runs are named after the folder, which is
    named after the model's fingerprint. Raises PlanError where the library is not installed, or MLflow keeps nothing.
    """

    def __init__(self, folder: Path | None, track: str = "", name: str = "") -> None:
        name = name or ("training" if folder is None else folder.name[:16])
        self._path = None if folder is None else folder / _FILE
        self._writer: Any = None
        self._mlflow: Any = None
        try:
            if track == "tensorboard":
                from torch.utils.tensorboard import SummaryWriter

                self._writer = SummaryWriter(str((folder or Path()) / "tensorboard" / name))
            elif track == "mlflow":
                self._mlflow = import_module("mlflow")
                self._start(name)
        except ImportError as error:
            raise PlanError(f"{track} is not installed", where="settings.track", hint=f"pip install {track}") from error

    def _start(self, name: str) -> None:
        """A new run. What MLflow raises (no server, no rights) is of its own kind, and a mistake of the set-up."""
        broken = getattr(self._mlflow, "MlflowException", OSError)
        try:
            self._mlflow.start_run(run_name=name, nested=True)
        except (broken, OSError) as error:
            said = " ".join(str(error).split())[:200]
            raise PlanError(
                f"mlflow keeps no run: {said}", where="settings.track", hint="see MLFLOW_TRACKING_URI"
            ) from error

    def begin(self, done: int) -> None:
        """Keep the lines of the first `done` epochs only: those of a training that is taken up."""
        if self._path is None or not self._path.is_file():
            return
        lines = self._path.read_text(encoding="utf-8").splitlines()[:done]
        self._path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def epoch(self, epoch: int, numbers: Mapping[str, float]) -> None:
        """Write one epoch's numbers."""
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"epoch": epoch, **numbers}) + "\n")
        if self._writer is not None:
            for name, value in numbers.items():
                self._writer.add_scalar(name, value, epoch)
        if self._mlflow is not None:
            self._mlflow.log_metrics(dict(numbers), step=epoch)

    def close(self) -> None:
        """No more epochs come."""
        if self._writer is not None:
            self._writer.close()
        if self._mlflow is not None:
            lost = sys.exc_info()[0] is not None  # closed on the way out of a training that broke off
            self._mlflow.end_run(**({"status": "FAILED"} if lost else {}))
