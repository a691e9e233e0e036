"""The text formats of a fixed record are just what they were; STEELYARD_UPDATE_GOLDEN=1 writes them anew.

The HTML is compared by its words and its tags, so that a change of style alone changes no golden file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from steelyard.reports.render import render_bytes

GOLDEN = Path(__file__).with_name("golden")


def normalised(name: str, data: bytes) -> str:
    text = data.decode()
    if name != "html":
        return text
    text = re.sub(r"<(style|script)>.*?</\1>", r"<\1></\1>", text, flags=re.S)
    text = re.sub(r'content="default-src[^"]*"', 'content="policy"', text)
    text = re.sub(r"<svg.*?</svg>", "<svg></svg>", text, flags=re.S)
    return re.sub(r">\s*<", ">\n<", text)


@pytest.mark.parametrize(
    ("name", "file"), [("html", "report.html.txt"), ("junit", "junit.xml"), ("markdown", "report.md")]
)
def test_golden(record, name, file):
    found = normalised(name, render_bytes(record, name))
    path = GOLDEN / file
    if os.environ.get("STEELYARD_UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8"), "run with STEELYARD_UPDATE_GOLDEN=1 if the change is meant"
