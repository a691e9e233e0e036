"""Fair networks: the weights make group and label independent, and the penalty closes a planted gap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from steelyard.audit.errors import PlanError, TargetError  # noqa: E402
from steelyard.audit.target import Sample  # noqa: E402
from steelyard.models.data.arrays import sample_from_arrays  # noqa: E402
from steelyard.models.recipes.fair_networks import FairMlp, pooled_groups  # noqa: E402
from steelyard.models.recipes.mlp import MlpRecipe  # noqa: E402
from steelyard.models.training.batches import Batch  # noqa: E402
from steelyard.models.training.group_loss import GroupPenalty, reweighing  # noqa: E402


def people(n: int, seed: int) -> pd.DataFrame:
    """The outcome depends on x, and x on the group: a plain model selects group b more often."""
    rng = np.random.default_rng(seed)
    group = rng.choice(["a", "b"], n)
    x = rng.normal(size=n) + 1.2 * (group == "b")
    y = (x + rng.normal(size=n) > 0.6).astype(int)
    return pd.DataFrame({"x": x, "noise": rng.normal(size=n), "group": group, "y": y})


def sample_of(frame: pd.DataFrame, **more: Any) -> Sample:
    return sample_from_arrays(frame[["x", "noise", "group"]], frame["y"], groups=frame[["group"]], **more)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.floats(0.1, 10.0)), min_size=1, max_size=60))
def test_reweighing_gives_every_group_the_same_rates(extra: list[tuple[int, int, float]]) -> None:
    cells = [(g, y, 1.0) for g in range(4) for y in range(3)]  # no empty cell
    groups, labels, given_ = (np.array(column) for column in zip(*[*cells, *extra], strict=True))
    weights = reweighing(labels, groups, given_)
    assert weights.min() > 0
    assert weights.sum() == pytest.approx(given_.sum())
    for y in range(3):
        overall = given_[labels == y].sum() / given_.sum()
        for g in range(4):
            own = groups == g
            assert weights[own & (labels == y)].sum() / weights[own].sum() == pytest.approx(overall)
            assert weights[own].sum() == pytest.approx(given_[own].sum())


def test_reweighing_by_hand() -> None:
    """Kamiran and Calders' example: P(g) P(y) / P(g, y) of 10 rows, 5 of each group, 6 of them positive."""
    groups = np.array([0] * 5 + [1] * 5)
    labels = np.array([1, 1, 0, 0, 0, 1, 1, 1, 1, 0])
    found = reweighing(labels, groups)
    expected = {(0, 1): 0.3 / 0.2, (0, 0): 0.2 / 0.3, (1, 1): 0.3 / 0.4, (1, 0): 0.2 / 0.1}
    np.testing.assert_allclose(found, [expected[g, y] for g, y in zip(groups, labels, strict=True)])


def test_a_group_without_one_of_the_labels_is_said() -> None:
    with pytest.raises(TargetError, match="no training row of one of the classes"):
        reweighing(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1]))


def batch_of(groups: Any, labels: Any, weights: Any) -> Batch:
    n = len(labels)
    return Batch(inputs=torch.zeros(n, 1), labels=labels, weights=weights, groups=groups, rows=torch.arange(n))


@pytest.mark.parametrize("constraint", ["demographic-parity", "equalized-odds"])
def test_the_penalty_is_the_variance_of_the_groups_means(constraint: Any) -> None:
    rng = np.random.default_rng(0)
    p, w = rng.uniform(0.05, 0.95, 30), rng.uniform(0.5, 2.0, 30)
    g, y = rng.integers(0, 3, 30), rng.integers(0, 2, 30)
    logits = torch.tensor(np.stack([np.zeros(30), np.log(p / (1 - p))], axis=1))

    class Given(torch.nn.Module):
        def forward(self, inputs: Any) -> Any:
            return logits.float()

    batch = batch_of(torch.tensor(g), torch.tensor(y), torch.tensor(w).float())
    losses = [GroupPenalty(strength=s, constraint=constraint)(Given(), batch).item() for s in (0.0, 1.0)]
    parts = [np.ones(30, dtype=bool)] if constraint == "demographic-parity" else [y == 0, y == 1]
    wanted = []
    for part in parts:
        means = np.array([np.average(p[part & (g == k)], weights=w[part & (g == k)]) for k in range(3)])
        shares = np.array([w[part & (g == k)].sum() for k in range(3)]) / w[part].sum()
        wanted.append(np.average((means - np.average(means, weights=shares)) ** 2, weights=shares))
    assert losses[1] - losses[0] == pytest.approx(np.mean(wanted), abs=1e-6)
    assert np.mean(wanted) > 1e-3
    cross = -np.average(np.log(np.where(y == 1, p, 1 - p)), weights=w)
    assert losses[0] == pytest.approx(cross, abs=1e-5)


def gap(decisions: Any, groups: Any) -> float:
    rates = pd.Series(np.asarray(decisions).astype(float)).groupby(np.asarray(groups)).mean()
    return float(rates.max() - rates.min())


def test_it_closes_the_gap_that_the_plain_network_has() -> None:
    train, test = people(1500, 1), people(3000, 2)
    how: dict[str, Any] = {"epochs": 12, "lr": 5e-3, "hidden": 16, "batch": 256}
    given_ = test[["x", "noise", "group"]]
    answers = test["y"].to_numpy()
    decided = {
        name: recipe.fit(sample_of(train), 0).predict(given_).astype(int)
        for name, recipe in {
            "plain": MlpRecipe(**how),
            "regularised": FairMlp(strength=60.0, **how),
            "odds": FairMlp(strength=60.0, constraint="equalized-odds", **how),
            "reweighing": FairMlp(method="reweighing", **how),
        }.items()
    }
    gaps = {name: gap(given, test["group"]) for name, given in decided.items()}
    right = {name: float((given == answers).mean()) for name, given in decided.items()}
    assert gaps["plain"] > 0.3
    assert gaps["regularised"] < 0.5 * gaps["plain"]
    assert gaps["reweighing"] < 0.7 * gaps["plain"]
    assert all(share > 0.6 for share in right.values())
    assert right["regularised"] < right["plain"]  # and what it costs

    def odds(given: Any) -> float:
        return max(gap(given[answers == y], test["group"][answers == y]) for y in (0, 1))

    assert odds(decided["odds"]) < 0.6 * odds(decided["plain"])


def test_small_groups_are_one_or_join_the_largest() -> None:
    frame = people(1000, 3)
    frame["group"] = np.repeat(["a", "b", "c", "d"], [600, 300, 60, 40])
    sample = sample_of(frame)
    codes = pooled_groups(sample, attribute="", least=90, where="fair/mlp")
    assert sorted(np.bincount(codes)) == [100, 300, 600]
    codes = pooled_groups(sample, attribute="group", least=200, where="fair/mlp")
    assert sorted(np.bincount(codes)) == [300, 700]
    with pytest.raises(TargetError, match="fewer than two groups"):
        pooled_groups(sample, attribute="", least=700, where="fair/mlp")
    with pytest.raises(TargetError, match="no group column 'sex'"):
        pooled_groups(sample, attribute="sex", least=90, where="fair/mlp")
    with pytest.raises(TargetError, match="has none"):
        FairMlp().fit(sample_from_arrays(frame[["x"]], frame["y"]), 0)


def test_survey_weights_are_counted() -> None:
    frame = people(800, 4)
    weights = np.where(frame["y"] == 1, 3.0, 1.0)
    recipe = FairMlp(method="reweighing")
    sample = sample_of(frame, weights=weights)
    rows = recipe.rows(recipe.prepared(sample), sample)
    w, y, g = rows.weights.numpy().astype(float), rows.labels.numpy(), rows.groups.numpy()
    rates = [np.average(y[g == k], weights=w[g == k]) for k in (0, 1)]
    assert rates == pytest.approx([np.average(frame["y"], weights=weights)] * 2, abs=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "prayer"},
        {"constraint": "equal-opportunity"},
        {"strength": -1.0},
        {"method": "reweighing", "constraint": "equalized-odds"},
    ],
)
def test_wrong_settings_are_one_clear_line(settings: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=r"fair/mlp: "):
        FairMlp(**settings)
