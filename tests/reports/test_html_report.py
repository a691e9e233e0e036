"""The HTML report: one inert file that says all it must, whatever the data are called."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steelyard.audit.errors import PlanError, StorageError
from steelyard.reports.charts import MAX_ROWS, forest
from steelyard.reports.notebook import render_notebook
from steelyard.reports.render import render, render_bytes
from steelyard.reports.view import build_view


class Page(HTMLParser):
    """Every start tag with its attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def html(record) -> str:
    return render_bytes(record, "html").decode()


def test_the_policy_holds_the_hashes_of_the_one_style_and_the_one_script(html):
    policy = unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1])
    assert policy.startswith("default-src 'none'")
    for tag in ("style", "script"):
        bodies = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.S)
        assert len(bodies) == 1
        found = base64.b64encode(hashlib.sha256(bodies[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{found}'" in policy


def test_nothing_loads_and_nothing_runs_by_attribute(html):
    for tag, attributes in Page(html).tags:
        assert tag not in {"img", "iframe", "link", "object", "embed", "base", "form", "audio", "video"}
        for name, value in attributes.items():
            assert name not in {"style", "src", "srcset", "action", "xlink:href"}
            assert not name.startswith("on")
            if name == "href":
                assert value is not None
                assert value.startswith("#")
    assert "url(" not in html
    assert "@import" not in html


def test_ids_are_unique_and_every_link_inside_leads_somewhere(html):
    tags = Page(html).tags
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))
    for tag, attributes in tags:
        if tag == "a":
            assert attributes["href"][1:] in ids


def test_hostile_names_arrive_as_text(html, sample):
    text = Page(html).text
    for name in sample.HOSTILE[:3]:
        assert name not in html or "<" not in name
        assert " ".join(name.split()) in text
    assert "'=HYPERLINK" in text
    assert "\u202e" not in html


def test_sections_stand_in_the_order_a_reader_needs(html):
    wanted = ["verdict", "gaps", "gates", "scope", "thresholds", "m-quality", "m-fairness"]
    wanted += ["untested", "waivers", "reproduction", "reading", "sign-off"]
    ids = [a["id"] for _, a in Page(html).tags if a.get("id") in wanted]
    assert ids == wanted


def test_headings_never_skip_a_level(html):
    levels = [int(tag[1]) for tag, _ in Page(html).tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_verdict_and_gap_is_told(html, record):
    text = Page(html).text
    assert "1 of 7 gates failed, 1 inconclusive" in text
    assert "required family not measured: privacy" in text
    assert "robustness.autoattack" in text
    assert "21,300 per group" in text
    assert "nyc-ll144, eu-ai-act" in text
    assert "not evaluated by this version" in text
    assert record.digest in text
    assert "secret" not in text  # neither a traceback nor a host name


def test_each_chart_has_words_and_a_table_with_the_same_figures(record):
    charts = 0
    for family in build_view(record).families:
        for question in family.questions:
            for metric in question.metrics:
                drawing = forest(metric)
                if not drawing:
                    continue
                charts += 1
                root = ET.fromstring(drawing)
                assert root.get("role") == "img"
                assert root.find("title") is not None
                assert root.find("desc").text
                marks = sum(len(row.marks) for part in metric.parts for row in part.rows)
                drawn = [e for e in root.iter() if e.get("class") in ("k0", "k1")]
                assert len(drawn) == marks + len(metric.columns)  # the legend has one of each
    assert charts > 10


def test_a_wall_of_groups_is_a_table_and_no_chart(record, sample):
    first = next(f for f in record.findings if f.metric == "fairness.selection-rate.rate")
    many = tuple(replace(first, where={"attribute": "zip", "group": f"z{i}"}) for i in range(MAX_ROWS + 1))
    view = build_view(replace(record, findings=many))
    metric = view.families[0].questions[0].metrics[0]
    assert forest(metric) == ""
    assert sum(len(p.rows) for p in metric.parts) == MAX_ROWS + 1
    assert "z60" in render_bytes(replace(record, findings=many), "html").decode()


def test_a_metric_of_a_later_version_renders_from_its_fields_alone(record):
    first = record.findings[0]
    novel = replace(first, metric="novelty.some-question.some-score", where={"eps": 0.1, "severity": 3}, ideal=None)
    text = Page(render_bytes(replace(record, findings=(novel,)), "html").decode()).text
    assert "Novelty" in text
    assert "Some score" in text
    assert "eps = 0.1, severity = 3" in text


def test_without_gates_it_says_measured_not_judged(record, sample):
    text = Page(render_bytes(sample.unjudged(record), "html").decode()).text
    assert "Measured, not judged" in text
    assert "every gate passed" not in text  # there was none
    assert "gates passed" not in text


def test_exploratory_verdicts_are_announced(record):
    changed = replace(record, exploratory="gates[0].min was 0.7 when the run began")
    assert "Exploratory verdicts" in Page(render_bytes(changed, "html").decode()).text


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(min_size=1, max_size=60))
def test_any_name_is_inert_in_html_and_notebook(record, name):
    first = replace(
        record.findings[0], where={"attribute": name, "group": name}, definition=name, detail={"highest": name}
    )
    changed = replace(record, findings=(first,), failures=(), plan={**record.plan, "audit": {"name": name}})
    usual = {tag for tag, _ in Page(render_bytes(record, "html").decode()).tags}
    html = render_bytes(changed, "html").decode()
    assert {tag for tag, _ in Page(html).tags} <= usual
    assert html.count("<script>") == 1
    assert {tag for tag, _ in Page(render_notebook(changed)).tags} <= {
        *("div", "p", "strong", "ul", "li", "table", "thead", "tr", "th", "tbody", "td", "bdi", "code")
    }


def test_the_notebook_view_needs_no_script_or_style(record):
    fragment = render_notebook(record)
    assert "<script" not in fragment
    assert "style" not in {name for _, attributes in Page(fragment).tags for name in attributes}
    assert "Selection rate: ratio" in fragment
    assert record._repr_html_() == fragment


def test_a_usual_audit_is_rendered_small_and_soon(sample):
    full = sample.make_record(full=True)
    assert len(full.findings) > 800
    began = time.process_time()
    html = render_bytes(full, "html")
    assert time.process_time() - began < 3.0
    assert len(html) < 2_000_000


def test_render_writes_each_file_and_refuses_an_unknown_format(record, tmp_path):
    written = render(record, ["html", "json", "junit", "markdown"], tmp_path / "new")
    names = {key: path.name for key, path in written.items()}
    assert names == {"html": "report.html", "json": "report.json", "junit": "junit.xml", "markdown": "report.md"}
    assert all(path.stat().st_size > 1000 for path in written.values())
    with pytest.raises(PlanError, match="'pdf' is unknown; allowed: html, json, junit, markdown"):
        render(record, ["pdf"], tmp_path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        render(record, ["html"], tmp_path / "file")


def test_curves_come_from_the_run_folder_and_a_changed_one_is_not_drawn(record, tmp_path):
    reread = type(record).from_bytes(record.to_bytes())
    item = next(e for f in record.findings for e in f.evidence)
    report = render(reread, ["html"], tmp_path)["html"].read_text()
    assert "The curve is not drawn" in report
    for found in {e.digest: e for f in record.findings for e in f.evidence}.values():
        Path(tmp_path / "evidence").mkdir(exist_ok=True)
        (tmp_path / "evidence" / f"{found.digest}.json").write_bytes(found.data)
    whole = render(reread, ["html"], tmp_path)["html"].read_text()
    assert "The curve is not drawn" not in whole
    assert "Reliability curve" in whole
    (tmp_path / "evidence" / f"{item.digest}.json").write_bytes(b"{}")
    assert "The curve is not drawn" in render(reread, ["html"], tmp_path)["html"].read_text()
