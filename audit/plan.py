"""The plan: what an audit will do, fixed and hashed before anything is measured.

These models are the contract of `audit.yaml`; `audit/plan_file.py` reads the file and turns a violation into one
line with the file, the line number and the nearest valid key.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from steelyard.audit.canonical import digest

__all__ = [
    "AuditPart",
    "DataPart",
    "GatePart",
    "Plan",
    "ReferencePart",
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
    seed: int = Field(0, ge=0, le=2**32 - 1, description="The one seed; every generator is derived from it by name.")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="Error rate of a gate's verdict; intervals are at 1 - alpha.")
    owner: str = Field("", description="Who answers for the audit; printed in the report.")
    purpose: str = Field("", description="What the model is for; printed in the report.")


class TargetPart(_Part):
    """The model under audit."""

    kind: Literal["sklearn", "predictions", "python", "recipe", "torch", "onnx", "transformers", "http"]
    path: str | None = Field(None, description="The model file, the table of decisions, or the Python file.")
    factory: str | None = Field(None, description="python, torch: the function in `path` that returns the model.")
    weights: str | None = Field(None, description="torch: a safetensors file for the network the factory returns.")
    name: str | None = Field(None, description="recipe: which one, such as `boosting`.")
    variant: str = Field("standard", description="recipe: which variant of it.")
    decision: str | None = Field(None, description="predictions: the column with the decisions.")
    score: str | None = Field(None, description="predictions: the column with P(positive), or a number for regression.")
    threshold: float | None = Field(None, description="Decide positive where the score is at least this.")
    trust_pickle: bool = Field(False, description="Open a .pkl or .joblib file after a scan; it can run code.")
    trusted: list[str] = Field(default_factory=list, description="Extra types a .skops file may hold.")
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="recipe: its settings, such as `epochs: 12`; torch, onnx, transformers: how they are asked.",
    )
    revision: str | None = Field(None, description="transformers: the hub commit; a hub id needs one.")
    trust_remote_code: bool = Field(False, description="transformers: run code that the model's folder brings.")
    head: Literal["classifier", "causal", "masked"] | None = Field(
        None, description="transformers: what the model is asked to be; default: what its config says."
    )


class DataPart(_Part):
    """The data: which file, what the columns mean."""

    dataset: str | None = Field(
        None, description="A bundled data set instead of files: `adult`, `digits` or `digits-images`."
    )
    train: str | None = Field(None, description="The training table (CSV, parquet, images, text), for references.")
    test: str | None = Field(None, description="The table the audit is measured on.")
    held_out: float | None = Field(
        None, gt=0, lt=1, description="Without data.test: the share of data.train that is held out, by the seed."
    )
    text: str | None = Field(None, description="The column with the text, where the inputs are texts.")
    labels: str | None = Field(None, description="Images in an IDX or .npy file: the file with their labels.")
    label: str | None = Field(None, description="The column with the true outcome.")
    positive: Scalar | None = Field(None, description="The favourable value of the label.")
    groups: list[str] = Field(default_factory=list, description="Protected attributes, as columns.")
    features: list[str] | None = Field(None, description="The model's input columns; default: all the others.")
    drop: list[str] = Field(default_factory=list, description="Columns that are not inputs.")
    cluster: str | None = Field(None, description="The person (or other unit) a row belongs to.")
    weight: str | None = Field(None, description="Survey weights.")
    id: str | None = Field(None, description="A row id; duplicates are refused.")
    task: Literal["binary", "multiclass", "regression", "language"] | None = Field(
        None, description="Default: inferred."
    )
    min_n: int = Field(30, ge=2, description="The least n of a group for inference.")
    reduce_above: int = Field(
        2_000_000,
        ge=1,
        description="A table of predictions (parquet or CSV) with more rows is counted, not read whole.",
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
ReferenceEntry = str | dict[str, dict[str, Any]]  # a recipe's name, or {name: {variant: …, as: …, its settings}}


class ReferencePart(_Part):
    """One entry of `references`: {cnn: {variant: robust, as: hardened, epochs: 12}}, or a name alone."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)

    name: str
    variant: str = "standard"
    called: str = Field("", alias="as", description="How findings call it; default: the recipe's id.")

    @property
    def settings(self) -> dict[str, Any]:
        """The recipe's own settings."""
        return dict(self.model_extra or {})


class Plan(_Part):
    """A validated audit plan. `digest` covers every resolved value, so a changed threshold changes it."""

    audit: AuditPart = Field(default_factory=AuditPart)
    target: TargetPart
    data: DataPart
    references: list[ReferenceEntry] = Field(default_factory=list)
    probes: Annotated[list[ProbeEntry], Field(min_length=1)]
    gates: Annotated[list[GatePart], Field(min_length=1)]
    required: list[str] = Field(default_factory=list)
    waivers: list[WaiverPart] = Field(default_factory=list)
    standards: list[str] = Field(default_factory=list)
    report: ReportPart = Field(default_factory=ReportPart)

    @field_validator("references")
    @classmethod
    def _one_name_each(cls, entries: list[ReferenceEntry]) -> list[ReferenceEntry]:
        if any(not isinstance(entry, str) and len(entry) != 1 for entry in entries):
            raise ValueError("each entry is a recipe's name, or one name with its settings: cnn: {epochs: 12}")
        return entries

    @property
    def named_references(self) -> tuple[ReferencePart, ...]:
        """The entries of `references`, one way or the other of writing them."""
        named = [(entry, {}) if isinstance(entry, str) else next(iter(entry.items())) for entry in self.references]
        return tuple(ReferencePart(**{"name": name, **settings}) for name, settings in named)

    @property
    def digest(self) -> str:
        """SHA-256 of the resolved plan."""
        return digest(self.model_dump(mode="json"))
