"""The report in a real browser: nothing leaves, nothing from data runs, anyone can read it.

Needs Chromium (STEELYARD_CHROMIUM, else /usr/bin/chromium) and Playwright; with STEELYARD_REQUIRE_BROWSER=1 their
absence is a failure and not a skip.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from steelyard.reports.render import render

pytestmark = pytest.mark.browser

CHROMIUM = Path(os.environ.get("STEELYARD_CHROMIUM", "/usr/bin/chromium"))
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def absent(what: str) -> None:
    message = f"{what}: the report cannot be looked at in a browser"
    if os.environ.get("STEELYARD_REQUIRE_BROWSER") == "1":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM.exists():
        absent(f"no Chromium at {CHROMIUM}; set STEELYARD_CHROMIUM")
    if importlib.util.find_spec("playwright") is None:
        absent("Playwright is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[str, str]:
    """Addresses of a whole report and of one with a few metrics: axe looks at each of thousands of table cells."""
    source = Path(__file__).parents[1] / "reports" / "sample_record.py"
    spec = importlib.util.spec_from_file_location("steelyard_browser_sample_record", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    record = module.make_record()
    few = tuple(f for f in record.findings if not f.metric.startswith("fairness.error-rates"))
    folders = (tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("few"))
    records = (record, replace(record, findings=few))
    whole, brief = (render(r, ["html"], f)["html"].as_uri() for r, f in zip(records, folders, strict=True))
    return whole, brief


@pytest.fixture(scope="module")
def address(written) -> str:
    return written[0]


@contextmanager
def opened(browser, address, **options) -> Iterator[object]:
    """The report in a page of its own, with every request, console line and error of it collected."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.requests, page.complaints = [], []
    page.on("request", lambda request: page.requests.append(request.url))
    page.on("console", lambda line: page.complaints.append(line.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.add_init_script(
        "document.addEventListener('securitypolicyviolation', e => console.log('policy: ' + e.violatedDirective))"
    )
    page.goto(address)
    yield page
    context.close()


def test_no_request_leaves_and_nothing_from_the_data_runs(browser, address):
    with opened(browser, address) as page:
        page.on("dialog", lambda dialog: page.complaints.append("a dialog opened"))
        page.click("#open-all")
        page.wait_for_timeout(200)
        assert page.requests == [address]
        assert page.evaluate("window.harmed") is None
        assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0
        assert page.complaints == []
        assert "<script>window.harmed=1" in page.inner_text("h1")


def test_the_policy_stops_a_script_and_a_request_that_are_put_in_later(browser, address):
    with opened(browser, address) as page:
        page.evaluate(
            "() => { const s = document.createElement('script'); s.textContent = 'window.harmed = 1';"
            "document.body.append(s); const i = new Image(); i.src = 'http://127.0.0.1:9/x'; }"
        )
        page.wait_for_timeout(200)
        assert page.evaluate("window.harmed") is None
        assert any("script-src" in line for line in page.complaints)
        assert any("img-src" in line for line in page.complaints)


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 320)])
def test_axe_finds_no_violation(browser, written, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    # The page's policy would stop axe itself, so this context alone sets it aside.
    options = {"color_scheme": scheme, "bypass_csp": True, "viewport": {"width": width, "height": 900}}
    with opened(browser, written[1], **options) as page:
        page.click("#open-all")
        rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        result = axe.Axe().run(page, options={"runOnly": {"type": "tag", "values": rules}})
        found = [(v["id"], v["nodes"][0]["html"][:200]) for v in result.response["violations"]]
        assert found == []
        assert len(result.response["passes"]) > 20  # axe did look


def test_the_button_changes_the_theme_and_says_so(browser, address):
    with opened(browser, address, color_scheme="light") as page:
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert page.inner_text("#theme") == "Dark theme"
        page.click("#theme")
        assert page.inner_text("#theme") == "Light theme"
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before


@pytest.mark.parametrize("width", [320, 390, 768])
def test_a_narrow_page_does_not_scroll_sideways(browser, address, width):
    with opened(browser, address, viewport={"width": width, "height": 800}) as page:
        page.click("#open-all")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_keyboard_reaches_the_skip_link_the_buttons_and_a_chart_s_box(browser, address):
    with opened(browser, address) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
        page.keyboard.press("Enter")
        assert page.evaluate("location.hash") == "#verdict"
        page.reload()
        reached = set()
        for _ in range(60):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
        assert {"theme", "open-all", "box"} <= reached


def test_buttons_links_and_summaries_are_large_enough(browser, address):
    with opened(browser, address, viewport={"width": 390, "height": 800}) as page:
        small = page.evaluate(
            "[...document.querySelectorAll('button, summary, nav a')].filter(e => e.offsetParent)"
            ".filter(e => e.getBoundingClientRect().height < 24).map(e => e.textContent)"
        )
        assert small == []


def test_without_script_everything_is_still_there(browser, address):
    with opened(browser, address, java_script_enabled=False) as page:
        assert page.locator("#theme").is_hidden()
        assert page.locator("details.metric").first.is_visible()
        assert page.locator("svg.chart").first.is_visible()


def test_a_link_to_a_closed_metric_opens_it(browser, address):
    with opened(browser, address) as page:
        assert not page.evaluate("document.getElementById('m-quality-performance-auc').open")
        page.click("a[href='#m-quality-performance-auc']")
        page.wait_for_function("document.getElementById('m-quality-performance-auc').open")


def test_print_shows_what_is_closed_on_screen(browser, address):
    with opened(browser, address, java_script_enabled=False) as page:
        table = page.locator("#m-quality-performance-auc table").first
        assert not table.is_visible()
        page.emulate_media(media="print")
        assert table.is_visible()
