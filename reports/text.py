"""Strings from data, made safe to show: control signs made visible, formulas guarded, identifiers put into words.

Escaping for a format (HTML, Markdown, XML) is that format's own work; what is here holds for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from unicodedata import east_asian_width

from steelyard.audit.types import Scalar

__all__ = ["clip", "describe_where", "guard", "humanise", "visible"]

# C0 and C1 controls, zero-width and bidirectional controls, the BOM, surrogates, U+FFFE and U+FFFF: none of them can
# be seen, and they can reorder a line, hide a word, or break UTF-8 and XML.
_UNSEEN = re.compile(
    "[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufffe\uffff]"
)
_FORMULA = ("=", "+", "-", "@")
_ACRONYMS = {
    "auc": "AUC",
    "ece": "ECE",
    "mce": "MCE",
    "mae": "MAE",
    "rmse": "RMSE",
    "f1": "F1",
    "r2": "R²",
    "tpr": "TPR",
    "fpr": "FPR",
    "fnr": "FNR",
    "tnr": "TNR",
    "ppv": "PPV",
    "npv": "NPV",
    "brier": "Brier score",
    "smd": "SMD",
    "cmh": "CMH",
    "ll144": "LL144",
    "dp": "DP",
    "pii": "PII",
}


def visible(text: str) -> str:
    """`text` with every sign that cannot be seen written out, as `\\u202e`; line breaks and tabs become spaces."""
    text = re.sub(r"[\t\r\n\v\f]+", " ", text)
    return _UNSEEN.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def guard(text: str) -> str:
    """`visible(text)`, with an apostrophe before what a spreadsheet would run when a table is pasted into it.

    HTML, Markdown and the notebook view use it for names that come from data. JSON and JUnit keep the exact text:
    a program reads them, and a program must find the group under its own name.
    """
    shown = visible(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown


def clip(text: str, length: int) -> str:
    """`text` cut to the width of `length` letters with an ellipsis; a Chinese sign is as wide as two letters.

    Where a chart cuts a name, the table beside it has the whole.
    """
    width, kept = 0, 0
    for sign in text:
        width += 2 if east_asian_width(sign) in "WF" else 1
        kept += width < length  # leaves room for the ellipsis
    return text if width <= length else text[:kept].rstrip() + "…"


def humanise(name: str) -> str:
    """A kebab-case or snake_case name in words: `tpr-difference` is "TPR difference"."""
    words = [_ACRONYMS.get(word, word) for word in re.split(r"[-_]", name) if word]
    joined = " ".join(words)
    return joined[:1].upper() + joined[1:]


def describe_where(where: Mapping[str, Scalar]) -> str:
    """A `where` in words: {attribute: sex, group: Female} is "sex: Female"; an empty one is "overall"."""
    rest = dict(where)
    parts: list[str] = []
    scope = rest.pop("attribute", None) or rest.pop("intersection", None)
    group = rest.pop("group", None)
    if scope is not None:
        name = guard(str(scope)).replace("*", " × ")
        crossed = "intersection" in where
        shown = "" if group is None else guard(str(group)).replace("*", " × " if crossed else "*")
        parts.append(name if group is None else f"{name}: {shown}")
    elif group is not None:
        parts.append(guard(str(group)))
    depth = rest.pop("intersections", None)
    if depth is not None:
        parts.append("all attributes and their intersections" if str(depth) != "1" else "all attributes")
    versus = rest.pop("versus", None)
    if versus is not None:
        parts.append(f"against {guard(str(versus))}")
    parts += [f"{guard(str(key))} = {guard(str(value))}" for key, value in rest.items()]
    return ", ".join(parts) or "overall"
