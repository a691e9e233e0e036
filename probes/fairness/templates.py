"""Sentences with a place for an identity term, and the terms: ours, or a file of the user's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steelyard.audit.canonical import sha256
from steelyard.audit.errors import NotApplicable, ProbeError
from steelyard.audit.target import Sample
from steelyard.audit.types import Modality

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SLOT", "Templates", "as_inputs", "filled", "load_templates", "text_column"]

SLOT = "{term}"
LEAST_TEMPLATES = 10  # below this Student's t over templates says next to nothing
LONG = 20  # characters on average: a column of words this long is text


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """`texts` with one `SLOT` each, `terms` by category; `digest` of the file they come from."""

    texts: tuple[str, ...]
    terms: Mapping[str, tuple[str, ...]]
    digest: str

    @property
    def every(self) -> tuple[tuple[str, str], ...]:
        """(category, term) in order."""
        return tuple((category, term) for category, terms in self.terms.items() for term in terms)


def load_templates(path: str) -> Templates:
    """The templates in the JSON or YAML file at `path`, or our own where it is empty.

    A file has `categories`, a mapping of names to lists of two or more terms, and `templates`, a list of sentences (or
    of mappings with `text`) that hold {term} once. Raises ProbeError, naming what is wrong.
    """
    if not path:
        from importlib.resources import files

        data = files("steelyard.probes.fairness").joinpath("identity_templates.json").read_bytes()
        return _parsed(data, "identity_templates.json")
    from pathlib import Path

    try:
        data = Path(path).expanduser().read_bytes()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ProbeError(
            f"the templates {path!r} cannot be read: {reason}", hint="in a plan, a path counts from the plan's folder"
        ) from error
    return _parsed(data, path)


def _parsed(data: bytes, name: str) -> Templates:
    import yaml

    try:
        content = yaml.safe_load(data.decode("utf-8"))  # JSON is YAML
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ProbeError(f"{name} is neither JSON nor YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(content, Mapping) or not {"categories", "templates"} <= set(content):
        raise ProbeError(f"{name} lacks `categories` or `templates`")
    texts = tuple(_text(entry, i, name) for i, entry in enumerate(_listed(content["templates"], "templates", name)))
    if len(set(texts)) < LEAST_TEMPLATES:
        raise ProbeError(f"{name} has {len(set(texts))} different templates; at least {LEAST_TEMPLATES} are needed")
    if not isinstance(content["categories"], Mapping):
        raise ProbeError(f"{name}: `categories` must map names to lists of terms")
    terms = {}
    for category, words in content["categories"].items():
        found = tuple(dict.fromkeys(str(word).strip() for word in _listed(words, f"categories.{category}", name)))
        if len(found) < 2 or not all(found):
            raise ProbeError(f"{name}: the category {category!r} needs two or more terms")
        terms[str(category)] = found
    if not terms:
        raise ProbeError(f"{name}: `categories` is empty")
    return Templates(texts=tuple(dict.fromkeys(texts)), terms=terms, digest=sha256(data))


def _listed(value: Any, key: str, name: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise ProbeError(f"{name}: `{key}` must be a list")
    return value


def _text(entry: Any, i: int, name: str) -> str:
    text = entry.get("text") if isinstance(entry, Mapping) else entry
    if not isinstance(text, str) or text.count(SLOT) != 1:
        raise ProbeError(f"{name}: templates[{i}] must be a sentence that holds {SLOT} once")
    return text


def as_inputs(sample: Sample, named: str, texts: Sequence[str]) -> Any:
    """`texts` in the form of the sample's inputs: an array of texts, or a data frame with them in its text column.

    Raises NotApplicable where no column is text, or several are and none is `named`.
    """
    import numpy as np
    import pandas as pd

    if sample.modality is Modality.TEXT and not isinstance(sample.inputs, pd.DataFrame):
        return np.array(texts, dtype=object)
    column = text_column(sample.features, named)
    if not column:
        raise NotApplicable("no input column is text, or several are", hint="the setting `text` names one")
    return filled(sample.inputs, column, texts)


def text_column(inputs: Any, named: str) -> str:
    """The input column that holds text: the one `named`, else the only one of words that are long on average.

    Raises ProbeError where `named` is not there. Returns "" where there is none, or more than one.
    """
    import pandas as pd

    if not isinstance(inputs, pd.DataFrame):
        return ""
    columns = [str(column) for column in inputs.columns]
    if named:
        if named not in columns:
            raise ProbeError(f"no input column is called {named!r}", hint=f"columns: {', '.join(columns[:12])}")
        return named
    found = []
    for place, column in enumerate(columns):
        values = inputs.iloc[:, place].dropna()
        if pd.api.types.is_string_dtype(values.dtype) and len(values) and values.astype(str).str.len().mean() >= LONG:
            found.append(column)
    return found[0] if len(found) == 1 else ""


def filled(inputs: pd.DataFrame, column: str, texts: Sequence[str]) -> pd.DataFrame:
    """`texts` as inputs: every other column holds one cell that occurs, its middle number or its commonest word."""
    import numpy as np
    import pandas as pd

    made: list[pd.Series[Any]] = []
    for place, name in enumerate(inputs.columns):
        values = inputs.iloc[:, place]
        if str(name) == column:
            dtype = values.dtype if not isinstance(values.dtype, pd.CategoricalDtype) else "object"
            made.append(pd.Series(list(texts), dtype=dtype, name=name))
            continue
        if pd.api.types.is_numeric_dtype(values.dtype) and values.notna().any():
            order = np.argsort(values.to_numpy(dtype=np.float64, na_value=np.inf), kind="stable")
            donor = int(order[(int(values.notna().sum()) - 1) // 2])
        else:
            words = values.astype(str)
            commonest = words.mode().iloc[0]
            donor = int(np.flatnonzero((words == commonest).to_numpy())[0])
        made.append(pd.Series(values.array.take(np.full(len(texts), donor)), name=name))
    return pd.concat(made, axis=1)
