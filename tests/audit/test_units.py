"""What a unit's key covers: equal keys have to mean equal findings."""

from __future__ import annotations

import numpy as np
import pandas as pd

from steelyard.audit.prepare import beside_the_plan
from steelyard.audit.target import References
from steelyard.audit.units import unit_key
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.targets.load import wrap
from steelyard.probes.fairness.identity_terms import IdentityTerms


def test_a_file_named_in_a_setting_is_known_by_its_content_and_found_beside_the_plan(tmp_path):
    sample = sample_from_arrays(pd.DataFrame({"x": np.arange(40)}), np.arange(40) % 2)
    target = wrap(lambda X: (X["x"] % 2).to_numpy(), sample)

    def key(folder) -> str:
        probe = beside_the_plan(IdentityTerms(templates="mine.yaml"), folder)
        return unit_key(probe, target, References(), sample, seed=1, versions={})

    one, two = tmp_path / "one", tmp_path / "two"
    for folder, text in ((one, "a"), (two, "a")):
        folder.mkdir()
        (folder / "mine.yaml").write_text(text, encoding="utf-8")
    before = key(one)
    assert key(two) == before
    (two / "mine.yaml").write_text("b", encoding="utf-8")
    assert key(two) != before
