"""LiRA, RMIA and the loss attack on digits, against areas that were measured beforehand by other code."""

from __future__ import annotations

import importlib.util

import pytest

torch = pytest.importorskip("torch")

# (shadows, attack): lowest and highest of the areas measured, 65 perceptrons 64-64-10, Adam 3e-3, batch 64, 40 epochs
MEASURED = {
    (64, "rmia"): (0.600, 0.606),
    (64, "lira-online"): (0.587, 0.596),
    (64, "loss"): (0.517, 0.519),
    (4, "rmia"): (0.576, 0.589),
    (64, "lira-online, own variance"): (0.587, 0.596),
    (4, "lira-online, own variance"): (0.537, 0.544),
}


@pytest.fixture(scope="module")
def areas(repo_root):
    spec = importlib.util.spec_from_file_location("privacy_benchmark", repo_root / "benchmarks" / "privacy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        models = module.digits_models()
    finally:
        torch.set_num_threads(threads)
    return {k: module.digits_areas(*models, shadows=k, targets=30) for k in (64, 4)}


@pytest.mark.slow
@pytest.mark.parametrize(("shadows", "attack"), MEASURED)
def test_areas_are_those_measured_elsewhere(areas, shadows, attack):
    low, high = MEASURED[shadows, attack]
    assert low - 0.015 <= areas[shadows][attack] <= high + 0.015


@pytest.mark.slow
def test_with_four_shadows_rmia_is_ahead_of_lira_and_pooled_variance_ahead_of_each_row_s_own(areas):
    few = areas[4]
    assert few["rmia"] > few["lira-online"] > few["lira-online, own variance"] > few["loss"]
