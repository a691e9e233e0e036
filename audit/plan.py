"""The plan: what an audit will do, fixed and hashed before anything is measured.

These models are the contract of `audit.yaml`; `audit/plan_file.py` reads the file and turns a violation into one
line with the file, the line number and the nearest valid key.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from steelyard.audit.canonical import digest

__all__ = [
    "AuditPart",
    "DataPart",
    "GatePart",
    "Plan",
    "ReportPart",
    "TargetPart",
    "WaiverPart",
]

Scalar = str | int | float | bool
ReportFormat = Literal["html", "json", "junit", "markdown"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class AuditPart(_Part):
    """Who and how: the audit's name, its one seed, the level of its tests."""

    name: str = Field("audit", min_length=1, description="What the report calls this audit.")
    seed: int = Field(0, ge=0, description="The one seed; every generator is derived from it by name.")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="Error rate of a gate's verdict; intervals are at 1 - alpha.")
    owner: str = Field("", description="Who answers for the audit; printed in the report.")
    purpose: str = Field("", description="What the model is for; printed in the report.")


class TargetPart(_Part):
    """The model under audit."""

    kind: Literal["sklearn", "predictions", "python", "recipe", "torch", "onnx", "transformers", "http"]
    path: str | None = Field(None, description="The model file, the table of decisions, or the Python file.")
    factory: str | None = Field(None, description="python: the function in `path` that returns the model.")
    weights: str | None = Field(None, description="torch: a safetensors file for the network the factory returns.")
    name: str | None = Field(None, description="recipe: which one, such as `boosting`.")
    variant: str = Field("standard", description="recipe: which variant of it.")
    decision: str | None = Field(None, description="predictions: the column with the decisions.")
    score: str | None = Field(None, description="predictions: the column with P(positive), or a number for regression.")
    threshold: float | None = Field(None, description="Decide positive where the score is at least this.")
    trust_pickle: bool = Field(False, description="Open a .pkl or .joblib file after a scan; it can run code.")
    trusted: list[str] = Field(default_factory=list, description="Extra types a .skops file may hold.")


class DataPart(_Part):
    """The data: which file, what the columns mean."""

    dataset: str | None = Field(None, description="A bundled data set instead of files: `adult` or `digits`.")
    train: str | None = Field(None, description="The training table (CSV or parquet), for references.")
    test: str | None = Field(None, description="The table the audit is measured on.")
    label: str | None = Field(None, description="The column with the true outcome.")
    positive: Scalar | None = Field(None, description="The favourable value of the label.")
    groups: list[str] = Field(default_factory=list, description="Protected attributes, as columns.")
    features: list[str] | None = Field(None, description="The model's input columns; default: all the others.")
    drop: list[str] = Field(default_factory=list, description="Columns that are not inputs.")
    cluster: str | None = Field(None, description="The person (or other unit) a row belongs to.")
    weight: str | None = Field(None, description="Survey weights.")
    id: str | None = Field(None, description="A row id; duplicates are refused.")
    task: Literal["binary", "multiclass", "regression"] | None = Field(None, description="Default: inferred.")
    min_n: int = Field(30, ge=2, description="The least n of a group for inference.")
    reduce_above: int = Field(
        2_000_000, ge=1, description="A parquet table of predictions with more rows is counted, not read whole."
    )
    unknown: Literal["show", "compare"] = Field(
        "show", description="Rows whose group is missing: shown, or compared too."
    )
    reference_groups: dict[str, str] = Field(
        default_factory=dict, description="attribute: group to compare the others with."
    )


class GatePart(_Part):
    """A stated tolerance on one metric."""

    metric: str
    id: str | None = None
    max: float | None = None
    min: float | None = None
    where: dict[str, Scalar] = Field(default_factory=dict)
    intersections: Literal[1, 2] = 1
    versus: str | None = None
    not_worse_by: float | None = Field(None, ge=0)
    on_inconclusive: Literal["review", "fail", "accept"] = "review"
    on_not_refuted: Literal["review", "accept"] = "review"


class WaiverPart(_Part):
    """A gate's failure accepted by a named person until a date."""

    gate: int | str
    owner: str = Field(min_length=1)
    expires: date
    reason: str = Field(min_length=1)


class ReportPart(_Part):
    """What the reports show."""

    min_cell: int = Field(10, ge=0, description="Groups with fewer rows are not shown.")
    formats: list[ReportFormat] = Field(default_factory=lambda: list(get_args(ReportFormat)))


ProbeEntry = str | dict[str, dict[str, Any]]


class Plan(_Part):
    """A validated audit plan. `digest` covers every resolved value, so a changed threshold changes it."""

    audit: AuditPart = Field(default_factory=AuditPart)
    target: TargetPart
    data: DataPart
    references: list[str] = Field(default_factory=list)
    probes: Annotated[list[ProbeEntry], Field(min_length=1)]
    gates: Annotated[list[GatePart], Field(min_length=1)]
    required: list[str] = Field(default_factory=list)
    waivers: list[WaiverPart] = Field(default_factory=list)
    standards: list[str] = Field(default_factory=list)
    report: ReportPart = Field(default_factory=ReportPart)

    @property
    def digest(self) -> str:
        """SHA-256 of the resolved plan."""
        return digest(self.model_dump(mode="json"))
