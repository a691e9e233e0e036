"""Write the generated part of docs/definitions.md: every metric of every built-in probe. `--check` only compares."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

from steelyard.audit.types import MetricSpec
from steelyard.probes.dictionary import TWO, namesakes
from steelyard.probes.registry import BUILT_IN

PAGE = Path(__file__).resolve().parents[1] / "docs" / "definitions.md"
OPEN, CLOSE = "<!-- written by scripts/definitions.py -->", "<!-- end of what is written -->"


def page(text: str) -> str:
    """The page with the part between the two marks written anew."""
    before, _, rest = text.partition(OPEN)
    _, mark, after = rest.partition(CLOSE)
    if not mark:
        raise ValueError(f"docs/definitions.md lacks {OPEN!r} or {CLOSE!r}")
    return f"{before}{OPEN}\n\n" + "\n".join(lines()) + f"\n{CLOSE}{after}"


def lines() -> Iterator[str]:
    """The dictionary, probe by probe in the registry's order."""
    for kind in BUILT_IN:
        yield f"### `{kind.id}`"
        yield ""
        yield (kind.__doc__ or "").strip().split("\n", 1)[0]
        yield ""
        for spec in kind.metrics:
            yield entry(spec)
        yield ""


def entry(spec: MetricSpec) -> str:
    """One metric: its formula, range, ideal, direction and source, and its names elsewhere."""
    also = f" (also {', '.join(f'`{alias}`' for alias in spec.aliases)})" if spec.aliases else ""
    better = {"lower": "lower is better", "higher": "higher is better"}.get(
        spec.direction.value, "neither way is better"
    )
    ideal = "" if spec.ideal is None else f", ideal {number(spec.ideal)}"
    reading = {"disclosure": "; a disclosure, without a pass mark", "attack": "; read off an attack"}.get(
        spec.reading, ""
    )
    parts = [f"- **`{spec.id}`**{also}: {plain(spec.definition)}."]
    parts.append(f"Range {number(spec.lower)} to {number(spec.upper)}{ideal}; {better}{reading}.")
    if spec.source:
        parts.append(f"Source: {plain(spec.source)}.")
    found = namesakes(spec.id)
    same = [
        f"{n.library} `{n.name}`" + (f" ({n.differs})" if n.differs else "")
        for n in found
        if not n.differs or n.differs == TWO
    ]
    other = [f"{n.library} `{n.name}` ({n.differs})" for n in found if n.differs and n.differs != TWO]
    if same:
        parts.append(f"The same elsewhere: {'; '.join(same)}.")
    if other:
        parts.append(f"Akin, but another number: {'; '.join(other)}.")
    return " ".join(parts)


def number(value: float) -> str:
    """A limit in words: infinity has a sign of its own."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:g}".replace("-", "−")


def plain(text: str) -> str:
    """Text whose signs are not markup."""
    text = text.rstrip(".")
    for sign in "*_<|":
        text = text.replace(sign, f"\\{sign}")
    return text


def main() -> int:
    old = PAGE.read_text(encoding="utf-8")
    new = page(old)
    if "--check" in sys.argv[1:]:
        return int(old != new)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
