"""K models trained as one program: what K separate runs give, on unequal subsets, for every kind of network."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from steelyard.audit.errors import TargetError  # noqa: E402
from steelyard.models.training.ensemble import EnsembleSettings, choose_way, train_ensemble  # noqa: E402


def mlp(dropout: float = 0.0) -> Any:
    from torch import nn

    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 10))


def cnn(norm: bool = False) -> Any:
    from torch import nn

    layers = [nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3), *([nn.BatchNorm2d(8)] if norm else [])]
    return nn.Sequential(*layers, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 10))


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return torch.tensor(found.data / 16, dtype=torch.float32), torch.tensor(found.target)


def subsets(K: int, n: int, shares: tuple[float, ...] = (0.5,)) -> Any:
    rng = np.random.default_rng(7)
    members = np.zeros((K, n), dtype=bool)
    for k in range(K):
        members[k, rng.choice(n, int(n * shares[k % len(shares)]), replace=False)] = True
    return members


def own_losses(found: Any, inputs: Any, labels: Any, members: Any) -> Any:
    """(K,) cross-entropy of each model over its own rows, from its logits."""
    logp = torch.log_softmax(torch.tensor(found.logits(inputs)), dim=2)
    taken = logp[:, torch.arange(len(labels)), labels].numpy()
    return -(taken * members).sum(axis=1) / members.sum(axis=1)


@pytest.mark.parametrize("build", [mlp, cnn])
def test_the_batch_gives_what_separate_runs_give(build: Any, digits: tuple[Any, Any]) -> None:
    inputs, labels = digits[0][:500], digits[1][:500]
    members = subsets(5, 500, (0.5, 0.31, 0.83))  # unequal, and no size a multiple of the batch
    found = {
        way: train_ensemble(
            build,
            inputs,
            labels,
            members,
            seeds=range(5),
            settings=EnsembleSettings(epochs=6, batch=48, lr=0.005, way=way),
        )
        for way in ("batched", "loop")
    }
    assert found["batched"].way == "batched"
    assert found["loop"].way == "loop"
    np.testing.assert_allclose(found["batched"].losses, found["loop"].losses, atol=1e-4)
    last = [own_losses(found[way], inputs, labels, members) for way in ("batched", "loop")]
    np.testing.assert_allclose(last[0], last[1], atol=1e-4)
    assert (last[0] < 1.6).all()  # they learn: a guess has ln 10 = 2.3
    assert len({round(float(x), 6) for x in last[0]}) == 5  # and each is another model


def test_a_separate_run_written_out_by_hand_gives_the_same(digits: tuple[Any, Any]) -> None:
    """An oracle apart from the file: plain PyTorch, one model, its batches in the documented order."""
    inputs, labels = digits[0][:200], digits[1][:200]
    members = np.stack([np.arange(200) % 2 == 0, np.arange(200) % 3 > 0])  # 100 and 133 rows: 5 steps of at most 30
    found = train_ensemble(
        mlp, inputs, labels, members, seeds=[11, 12], settings=EnsembleSettings(epochs=3, batch=30, lr=0.01)
    )
    for k, seed in enumerate((11, 12)):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            module = mlp()
        optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
        generator = torch.Generator().manual_seed(seed)
        own = torch.tensor(np.flatnonzero(members[k]))
        for _ in range(3):
            order = own[torch.randperm(len(own), generator=generator)]
            for rows in torch.tensor_split(order, 5):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(module(inputs[rows]), labels[rows]).backward()
                optimizer.step()
        with torch.no_grad():
            np.testing.assert_allclose(found.logits(inputs)[k], module(inputs).numpy(), atol=1e-3)


def test_rows_outside_a_subset_do_not_matter(digits: tuple[Any, Any]) -> None:
    inputs, labels = digits[0][:300].clone(), digits[1][:300].clone()
    members = subsets(2, 300)
    members[:, 0] = False  # row 0 is also what fills up short batches
    how = EnsembleSettings(epochs=3, batch=64)
    first = train_ensemble(mlp, inputs, labels, members, seeds=[0, 1], settings=how).logits(inputs[1:])
    outside = torch.tensor(~members.any(axis=0))
    inputs[outside] = 5.0
    labels[outside] = 3
    again = train_ensemble(mlp, inputs, labels, members, seeds=[0, 1], settings=how)
    kept = (~outside)[1:].numpy()
    np.testing.assert_allclose(first[:, kept], again.logits(inputs[1:])[:, kept], atol=1e-5)


def test_the_same_seed_gives_the_same_models_and_leaves_the_hosts_generator(digits: tuple[Any, Any]) -> None:
    inputs, labels = digits[0][:200], digits[1][:200]
    before = torch.random.get_rng_state()
    runs = [
        train_ensemble(mlp, inputs, labels, subsets(3, 200), seeds=[4, 5, 4], settings=EnsembleSettings(epochs=2))
        for _ in range(2)
    ]
    assert torch.equal(before, torch.random.get_rng_state())
    np.testing.assert_array_equal(runs[0].logits(inputs), runs[1].logits(inputs))


def test_more_models_than_one_program_holds(digits: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, labels = digits[0][:200], digits[1][:200]
    members, how = subsets(5, 200, (0.5, 0.7)), EnsembleSettings(epochs=2)
    whole = train_ensemble(mlp, inputs, labels, members, seeds=range(5), settings=how).logits(inputs)
    monkeypatch.setitem(train_ensemble.__globals__, "_AT_ONCE", 2)
    parts = train_ensemble(mlp, inputs, labels, members, seeds=range(5), settings=how).logits(inputs)
    np.testing.assert_allclose(whole, parts, atol=1e-4)


def test_what_cannot_be_stacked_is_trained_one_by_one(digits: tuple[Any, Any]) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert choose_way(mlp(), cpu, 64) == choose_way(mlp(), cpu, 10_000) == "batched"
    assert choose_way(mlp(0.5), cpu, 64) == "loop"
    assert choose_way(cnn(), cpu, 64) == choose_way(cnn(), cuda, 10_000) == "batched"
    assert choose_way(cnn(), cpu, 784) == "loop"  # it could be stacked; on a CPU that is slower
    assert choose_way(cnn(norm=True), cuda, 64) == "loop"
    inputs, labels = digits[0][:300], digits[1][:300]
    build = partial(cnn, norm=True)
    members = np.ones((2, 300), dtype=bool)
    found = train_ensemble(build, inputs, labels, members, seeds=[0, 1], settings=EnsembleSettings(epochs=8, lr=0.01))
    assert found.way == "loop"
    right = (found.logits(inputs).argmax(axis=2) == labels.numpy()).mean(axis=1)
    assert (right > 0.8).all()  # with the running statistics of each model: without them it could not be
    with pytest.raises(TargetError, match="running statistics"):
        train_ensemble(build, inputs, labels, members, seeds=[0, 1], settings=EnsembleSettings(way="batched"))


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_jobs_that_are_threads_draw_the_numbers_of_a_single_one(digits: tuple[Any, Any], dropout: float) -> None:
    import joblib

    inputs, labels, members = digits[0][:100], digits[1][:100], subsets(8, 100)
    build = partial(mlp, dropout)
    alone = EnsembleSettings(epochs=5, way="loop")
    expected = train_ensemble(build, inputs, labels, members, seeds=range(8), settings=alone)
    how = EnsembleSettings(epochs=5, way="loop", jobs=2)
    with joblib.parallel_config(backend="threading"):
        found = train_ensemble(build, inputs, labels, members, seeds=range(8), settings=how)
    np.testing.assert_allclose(found.logits(inputs), expected.logits(inputs), atol=1e-5)


@pytest.mark.parametrize(
    ("members", "match"),
    [
        (np.zeros((2, 50), dtype=bool), "no rows"),
        (np.ones((2, 49), dtype=bool), "boolean"),
        (np.ones((2, 50), dtype=np.int64), "boolean"),
        (np.ones((3, 50), dtype=bool), "boolean"),
        (np.stack([np.ones(50, dtype=bool), np.arange(50) < 2]), "too few"),
    ],
)
def test_members_that_do_not_fit(members: Any, match: str, digits: tuple[Any, Any]) -> None:
    with pytest.raises(TargetError, match=match):
        train_ensemble(mlp, digits[0][:50], digits[1][:50], members, seeds=[0, 1], settings=EnsembleSettings(batch=8))


def test_a_loss_that_is_not_finite_is_said(digits: tuple[Any, Any]) -> None:
    inputs = digits[0][:50].clone()
    inputs[3] = float("nan")
    members = np.ones((2, 50), dtype=bool)
    members[0, 3] = False
    with pytest.raises(TargetError, match="1 of 2 models is not finite"):
        train_ensemble(mlp, inputs, digits[1][:50], members, seeds=[0, 1], settings=EnsembleSettings(epochs=1))


@pytest.mark.parametrize(("jobs", "workers"), [(1, -1), (3, 3)])
def test_in_a_session_with_a_ray_cluster_every_model_of_the_loop_goes_to_it(
    jobs: int, workers: int, digits: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend of joblib's stands in for the cluster: what reaches it, and how many workers it was asked for."""
    from types import ModuleType

    import joblib
    from joblib._parallel_backends import ThreadingBackend

    sent, asked = [], []

    class Cluster(ThreadingBackend):  # type: ignore[misc]
        def effective_n_jobs(self, n_jobs: int) -> int:
            asked.append(n_jobs)
            return 2 if n_jobs == -1 else int(n_jobs)

        def submit(self, func: Any, callback: Any = None) -> Any:
            sent.extend(func.items)
            return super().submit(func, callback)

    monkeypatch.setattr("joblib.parallel.BACKENDS", dict(joblib.parallel.BACKENDS))
    modules = {name: ModuleType(name) for name in ("ray", "ray.util", "ray.util.joblib")}
    modules["ray"].is_initialized = lambda: True  # type: ignore[attr-defined]
    modules["ray.util.joblib"].register_ray = lambda: joblib.register_parallel_backend("ray", Cluster)  # type: ignore[attr-defined]
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    inputs, labels = digits[0][:100], digits[1][:100]
    how = EnsembleSettings(epochs=1, way="loop", jobs=jobs)
    members = subsets(4, 100)
    there = train_ensemble(mlp, inputs, labels, members, seeds=range(4), settings=how)
    assert len(sent) == 4
    assert asked[0] == workers
    monkeypatch.delitem(sys.modules, "ray")
    here = train_ensemble(mlp, inputs, labels, members, seeds=range(4), settings=replace(how, jobs=1))
    assert len(sent) == 4  # without a cluster nothing goes anywhere
    np.testing.assert_array_equal(there.logits(inputs), here.logits(inputs))
