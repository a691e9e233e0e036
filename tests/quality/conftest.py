"""Models that are nothing but their answers, and samples to ask them about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from steelyard.audit.target import Groups, Sample
from steelyard.audit.types import Capability, Modality, Task


@dataclass(frozen=True, kw_only=True)
class Answers:
    """A target that has already answered."""

    decisions: Any
    proba: Any = None
    name: str = "candidate"
    task: Task = Task.BINARY
    kind: str = "answers"
    fingerprint: str = "0"

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.PREDICT} | ({Capability.PREDICT_PROBA} if self.proba is not None else set()))

    def predict(self, inputs: Any) -> Any:
        return self.decisions

    def predict_proba(self, inputs: Any) -> Any:
        return self.proba


def _scorer(scores: Any, name: str = "candidate", threshold: float = 0.5) -> Answers:
    scores = np.asarray(scores, dtype=float)
    return Answers(
        decisions=(scores >= threshold).astype(np.int64), proba=np.column_stack([1 - scores, scores]), name=name
    )


def _sample(
    labels: Any, task: Task = Task.BINARY, classes: tuple[str, ...] = ("no", "yes"), groups: Any = None, **more: Any
) -> Sample:
    labels = np.asarray(labels)
    named: Mapping[str, Groups] = {
        attribute: Groups(codes=np.asarray(codes), levels=tuple(levels))
        for attribute, (codes, levels) in (groups or {}).items()
    }
    return Sample(
        inputs=np.zeros((len(labels), 1)), labels=labels, task=task, modality=Modality.TABULAR, fingerprint="s",
        classes=() if task is Task.REGRESSION else classes, groups=named, **more,
    )  # fmt: skip


@pytest.fixture
def answers() -> type[Answers]:
    return Answers


@pytest.fixture
def scorer() -> Callable[..., Answers]:
    return _scorer


@pytest.fixture
def sample() -> Callable[..., Sample]:
    return _sample
