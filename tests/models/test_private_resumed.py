"""A private training that is interrupted, killed or goes wrong: nothing is lost, and nothing is spent twice."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from steelyard.audit.errors import TargetError  # noqa: E402
from steelyard.models.cache import ModelCache, train_reference  # noqa: E402
from steelyard.models.data.arrays import sample_from_arrays  # noqa: E402
from steelyard.models.networks.architectures import build  # noqa: E402
from steelyard.models.networks.determinism import seeded  # noqa: E402
from steelyard.models.recipes.private import PrivateMlp  # noqa: E402
from steelyard.models.training import private_work  # noqa: E402
from steelyard.models.training.batches import Batch, Rows  # noqa: E402
from steelyard.models.training.objective import cross_entropy  # noqa: E402
from steelyard.models.training.private import Budget, train_private  # noqa: E402
from steelyard.models.training.settings import Settings  # noqa: E402
from steelyard.models.training.watch import Advance, watching  # noqa: E402

SGD = Settings(epochs=3, batch=40, lr=0.1, optimizer="sgd", device="cpu", warmup=0.2, schedule="linear")
ADAM = Settings(epochs=3, batch=40, lr=0.01, optimizer="adam", device="cpu")
BUDGET = Budget(epsilon=2.0, delta=1e-4)
STEPS = 15  # five to an epoch


def trained(settings: Settings, *, seed: int = 0, budget: Budget = BUDGET, **more: Any) -> tuple[Any, Any, Any]:
    """Weights, curves and what was spent; with dropout, which draws from torch's own generator."""
    draw = torch.Generator().manual_seed(1)
    inputs = torch.randn(200, 4, generator=draw)
    rows = Rows(inputs=inputs, labels=(inputs[:, 0] > 0).long())
    with seeded(0, "weights"):
        module = build("mlp", inputs=4, classes=2, hidden=8, dropout=0.3)
    curves, spent = train_private(module, rows, settings, budget, seed=seed, **more)
    return torch.cat([p.detach().flatten() for p in module.parameters()]), curves, spent


def stopping_at(epoch: int, step: int, how: Callable[[], None]) -> Callable[[Advance], None]:
    def watch(advance: Advance) -> None:
        if (advance.epoch, advance.step) == (epoch, step):
            how()

    return watch


def break_off() -> None:
    raise KeyboardInterrupt


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("settings", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize(("at", "how"), [((1, 2), ctrl_c), ((2, 3), break_off), ((2, 5), break_off), ((3, 5), ctrl_c)])
def test_resumed_is_uninterrupted_bit_for_bit(
    settings: Settings, at: tuple[int, int], how: Callable[[], None], tmp_path: Path
) -> None:
    whole, told, spent = trained(settings)
    with pytest.raises(KeyboardInterrupt):
        trained(settings, folder=tmp_path, watch=stopping_at(*at, how))
    seen: list[Advance] = []
    again, curves, other = trained(settings, folder=tmp_path, watch=seen.append)
    assert torch.equal(whole, again)
    assert other == spent
    assert spent.steps == STEPS
    assert spent.epsilon <= BUDGET.epsilon
    assert len(seen) == STEPS - 5 * (at[0] - 1) - at[1]
    assert curves.epochs == told.epochs
    assert curves.notes == told.notes
    assert curves.resumed == at[0] - 1
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epsilon"] for line in lines] == list(curves.column("epsilon"))
    assert lines[-1]["epsilon"] == spent.epsilon


class Killed(BaseException):
    """The end of a process, as far as the process itself can tell: nothing is written on the way out."""


def killed() -> None:
    raise Killed


def test_steps_lost_with_a_killed_process_are_the_same_steps_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept after the third step, killed after the eighth: five steps are taken a second time and counted once."""

    def watch(advance: Advance) -> None:
        done = (advance.epoch - 1) * 5 + advance.step
        monkeypatch.setattr(private_work, "_CHECKPOINT_EVERY", -1.0 if done == 3 else 1e9)
        if done == 8:
            killed()

    whole, told, spent = trained(ADAM)
    with pytest.raises(Killed):
        trained(ADAM, folder=tmp_path, watch=watch)
    seen: list[Advance] = []
    again, curves, other = trained(ADAM, folder=tmp_path, watch=seen.append)
    assert [seen[0].epoch, seen[0].step] == [1, 4]
    assert torch.equal(whole, again)
    assert (other, curves.epochs) == (spent, told.epochs)
    assert other.steps == STEPS


def test_a_finished_one_is_not_done_again_and_another_is_not_taken_up(tmp_path: Path) -> None:
    whole, _, spent = trained(SGD, folder=tmp_path)
    seen: list[Advance] = []
    again, curves, other = trained(SGD, folder=tmp_path, watch=seen.append)
    assert seen == []
    assert torch.equal(whole, again)
    assert (other, curves.resumed) == (spent, 3)
    for change in ({"seed": 1}, {"budget": Budget(epsilon=3.0, delta=1e-4)}):
        assert trained(SGD, folder=tmp_path, **change)[1].resumed == 0


def test_a_checkpoint_that_counts_fewer_steps_is_not_believed(tmp_path: Path) -> None:
    """Steps that the accountant's history leaves out would be spent, and not said."""
    safetensors = pytest.importorskip("safetensors.torch")
    with pytest.raises(KeyboardInterrupt):
        trained(SGD, folder=tmp_path, watch=stopping_at(2, 3, break_off))
    (file,) = tmp_path.glob("*.safetensors")
    data = file.read_bytes()
    plain = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["state"])
    assert [steps for _, _, steps in plain["history"]] == [8]
    plain["history"][0][2] = 2
    file.write_bytes(safetensors.save(safetensors.load(data), metadata={"state": json.dumps(plain)}))
    again, curves, spent = trained(SGD, folder=tmp_path)
    whole, _, honest = trained(SGD)
    assert curves.resumed == 0
    assert torch.equal(whole, again)
    assert spent == honest


def test_a_reference_is_taken_up_and_its_card_says_all_steps(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(200, 3))
    train = sample_from_arrays(x, (x[:, 0] > 0).astype(int))
    recipe = PrivateMlp(epochs=3, batch=40, hidden=8, delta=1e-4, epsilon=2.0)
    _, plain = train_reference(recipe, train, 0, ModelCache())
    kept = ModelCache(folder=tmp_path)
    with watching(stopping_at(2, 3, break_off)), pytest.raises(KeyboardInterrupt):
        train_reference(recipe, train, 0, kept)
    _, card = train_reference(recipe, train, 0, kept)
    assert card.curves == plain.curves
    assert card.notes == plain.notes
    assert "accounting of 15 steps" in card.notes[0]
    assert card.curves[-1]["epsilon"] <= 2.0
    assert not list(tmp_path.glob("partial/*"))


# what goes wrong


def breaking_at(call: int) -> Callable[[Any, Batch], Any]:
    """The objective, but for one call, whose gradients are not numbers."""
    calls = 0

    def objective(module: Any, batch: Batch) -> Any:
        nonlocal calls
        calls += 1
        return cross_entropy(module, batch) * (float("nan") if calls == call else 1.0)

    return objective


def test_weights_that_are_no_numbers_stop_it_and_it_says_so(tmp_path: Path) -> None:
    # Eight steps, the third of the second epoch being the one that breaks: one part to a step, for draws below 128
    breaks = breaking_at(8)
    found, curves, spent = trained(SGD, objective=breaks, folder=tmp_path)
    short = trained(SGD)
    assert bool(torch.isfinite(found).all())
    assert len(curves.epochs) == curves.best == 1
    assert curves.epochs[0] == short[1].epochs[0]
    assert curves.notes[1].startswith(
        "the loss became nan and the weights are no longer numbers in epoch 2: the weights"
    )
    assert spent.steps == 8  # what was thrown away is counted
    again, same, once = trained(SGD, objective=breaks, folder=tmp_path)  # and it stays stopped
    assert torch.equal(found, again)
    assert (same.epochs, same.notes, once) == (curves.epochs, curves.notes, spent)
    with pytest.raises(TargetError, match=r"no longer numbers in the first epoch; nothing was learnt; a smaller lr"):
        trained(SGD, objective=breaking_at(2))


def short_of_memory(most: int) -> Callable[[Any, Batch], Any]:
    """A device that holds the forward pass of more than `most` rows, and not what comes after."""

    def objective(module: Any, batch: Batch) -> Any:
        loss = cross_entropy(module, batch)
        if len(batch) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss

    return objective


def test_out_of_memory_halves_the_part_and_counts_each_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Settings(epochs=1, batch=200, lr=0.1, optimizer="sgd", device="cpu")
    ample = Budget(epsilon=1e4, delta=1e-4)

    def of(**more: Any) -> tuple[Any, Any, Any]:
        inputs = torch.randn(200, 4, generator=torch.Generator().manual_seed(1))
        rows = Rows(inputs=inputs, labels=(inputs[:, 0] > 0).long())
        with seeded(0, "weights"):
            module = build("mlp", inputs=4, classes=2, hidden=8)
        curves, spent = train_private(module, rows, plain, ample, seed=0, **more)
        return torch.cat([p.detach().flatten() for p in module.parameters()]), curves, spent

    fits, _, spent = of()
    halved, curves, other = of(objective=short_of_memory(20))
    assert torch.allclose(fits, halved, atol=1e-6)  # the noise is the same, and every row is in the sum once
    assert other == spent
    assert curves.batch == 16
    assert curves.notes[1] == "out of memory with 128 rows at once: 64 from then on"
    with pytest.raises(TargetError, match="the device's memory does not hold one row"):
        of(objective=short_of_memory(0))


def test_a_step_that_broke_off_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from opacus.optimizers import DPOptimizer

    def full(self: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(DPOptimizer, "step", full)
    with pytest.raises(TargetError, match="the device's memory does not hold a step; choose a smaller network"):
        trained(SGD)


@pytest.mark.parametrize("private", [True, False])
def test_a_full_disk_costs_the_checkpoint_and_not_the_training(
    private: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from steelyard.models.training.loop import train_network

    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def train(folder: Path | None) -> tuple[Any, Any]:
        if private:
            weights, curves, _ = trained(SGD, folder=folder)
            return weights, curves
        inputs = torch.randn(80, 4, generator=torch.Generator().manual_seed(1))
        with seeded(0, "weights"):
            module = build("mlp", inputs=4, classes=2, hidden=8, dropout=0.3)
        curves = train_network(
            module, Rows(inputs=inputs, labels=(inputs[:, 0] > 0).long()), SGD, seed=0, folder=folder
        )
        return torch.cat([p.detach().flatten() for p in module.parameters()]), curves

    plain, _ = train(None)
    monkeypatch.setattr("steelyard.models.training.checkpoint.os.replace", full)
    weights, curves = train(tmp_path)
    assert torch.equal(weights, plain)
    assert curves.notes.count("no checkpoint could be kept: No space left on device") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]  # and nothing half written
