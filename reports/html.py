"""The report as one HTML file: style, script and drawings inside, and a policy that lets nothing else run or load."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.reports.charts import forest
from steelyard.reports.frontier import draw
from steelyard.reports.numbers import number
from steelyard.reports.references_view import draw_curves
from steelyard.reports.reliability import reliability
from steelyard.reports.risk import draw_risk
from steelyard.reports.roc import draw_roc
from steelyard.reports.view import View

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["TEMPLATES", "content_policy", "render_html", "source_hash"]

TEMPLATES = Path(__file__).parent / "templates"


def source_hash(text: str) -> str:
    """The hash source of a Content-Security-Policy for an inline element's text: `'sha256-…'`."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def content_policy(style: str, script: str) -> str:
    """The page's Content-Security-Policy: this one style and this one script, and nothing from anywhere else."""
    return (
        f"default-src 'none'; style-src {source_hash(style)}; script-src {source_hash(script)};"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )


def render_html(view: View) -> str:
    """The whole page. Every string of `view` is escaped by the template; drawings escape their own text."""
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    text: str = (
        _environment()
        .get_template("report.html.j2")
        .render(view=view, style=style, script=script, policy=content_policy(style, script))
    )
    return text


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["forest"] = lambda metric: Markup(forest(metric))  # noqa: S704 (escapes its own text)
    environment.filters["reliability"] = lambda metric: Markup(reliability(metric))  # noqa: S704 (likewise)
    environment.filters["roc"] = lambda metric: Markup(draw_roc(metric))  # noqa: S704 (likewise)
    environment.filters["frontier"] = lambda frontier: Markup(draw(frontier))  # noqa: S704 (likewise)
    environment.filters["risk"] = lambda found: Markup(draw_risk(found))  # noqa: S704 (likewise)
    environment.filters["epochs"] = lambda line: Markup(draw_curves(line))  # noqa: S704 (likewise)
    environment.filters["inline"] = Markup  # our own style and script files, nothing else
    environment.filters["number"] = number
    return environment
