"""The training loop: the same seed, the same weights; and nothing lost when something goes wrong."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from steelyard.audit.errors import PlanError, TargetError  # noqa: E402
from steelyard.models.networks.architectures import build  # noqa: E402
from steelyard.models.networks.determinism import seeded  # noqa: E402
from steelyard.models.training.journal import Journal  # noqa: E402
from steelyard.models.training.loop import Batch, Curves, Hooks, Rows, Settings, cross_entropy, train_network  # noqa: E402
from steelyard.models.training.objective import next_token, row_losses, squared_error, weighted_mean  # noqa: E402
from steelyard.models.training.schedule import rate_factor  # noqa: E402
from steelyard.models.training.watch import Advance, keeping, watching  # noqa: E402


def rows(n: int = 200, seed: int = 0, *, weights: Any = None) -> Rows:
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, 6, generator=draw)
    labels = (inputs[:, 0] + 0.3 * torch.randn(n, generator=draw) > 0).long()
    return Rows(inputs=inputs, labels=labels, weights=weights)


def network(dropout: float = 0.2) -> Any:
    with seeded(0, "weights"):
        return build("mlp", inputs=6, classes=2, hidden=16, dropout=dropout)


def trained(
    settings: Settings, *, seed: int = 1, data: Rows | None = None, dropout: float = 0.2, **more: Any
) -> tuple[Any, Curves]:
    module = network(dropout)
    return module, train_network(module, rows() if data is None else data, settings, seed=seed, **more)


def weights_of(module: Any) -> Any:
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


def equal(one: Any, two: Any) -> bool:
    return bool((weights_of(one) == weights_of(two)).all())


PLAIN = Settings(epochs=4, batch=32, lr=1e-2)


# the same and not the same


def test_a_seed_gives_the_same_weights_and_another_seed_others() -> None:
    one, two, other = trained(PLAIN)[0], trained(PLAIN)[0], trained(PLAIN, seed=2)[0]
    assert equal(one, two)
    assert not equal(one, other)


def test_the_hosts_random_numbers_and_threads_are_left_alone() -> None:
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    trained(Settings(epochs=1, threads=1))
    assert (torch.random.get_rng_state() == before).all()
    assert torch.get_num_threads() == threads


def test_it_learns_and_ends_ready_to_be_asked() -> None:
    module, curves = trained(PLAIN)
    fresh = rows(500, seed=9)
    assert (module(fresh.inputs).argmax(1) == fresh.labels).float().mean() > 0.8
    assert not module.training
    assert curves.column("loss")[-1] < 0.8 * curves.column("loss")[0]
    assert len(curves.epochs) == curves.best == 4
    assert (curves.device, curves.precision, curves.batch) == ("cpu", "fp32", 32)
    assert curves.seconds > 0
    assert curves.peak_memory > 10


@pytest.mark.parametrize("weighted", [False, True])
def test_accumulated_batches_are_one_large_batch(weighted: bool) -> None:
    data = rows(weights=torch.linspace(0.5, 2.0, 200) if weighted else None)
    large = trained(Settings(epochs=3, batch=64), data=data, dropout=0.0)[0]
    small = trained(Settings(epochs=3, batch=16, accumulate=4), data=data, dropout=0.0)[0]
    assert torch.allclose(weights_of(large), weights_of(small), atol=1e-6)


def test_a_row_of_weight_two_is_a_row_that_is_there_twice() -> None:
    data = rows(40)
    twice = Rows(inputs=data.inputs.repeat(2, 1), labels=data.labels.repeat(2))
    first = Rows(inputs=twice.inputs[:60], labels=twice.labels[:60])  # 20 rows twice, 20 once
    heavy = Rows(inputs=data.inputs, labels=data.labels, weights=torch.tensor([2.0] * 20 + [1.0] * 20))
    whole = Settings(epochs=5, batch=100)
    one, two = (trained(whole, data=d, dropout=0.0)[0] for d in (first, heavy))
    assert torch.allclose(weights_of(one), weights_of(two), atol=1e-6)


# what goes wrong


def stopping_at(epoch: int, step: int, how: Callable[[], None]) -> Callable[[Advance], None]:
    def watch(advance: Advance) -> None:
        if (advance.epoch, advance.step) == (epoch, step):
            how()

    return watch


def break_off() -> None:
    raise KeyboardInterrupt


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("how", [break_off, ctrl_c])
@pytest.mark.parametrize("at", [(1, 1), (3, 4), (3, 7), (4, 7)])
@pytest.mark.parametrize(
    "settings", [PLAIN, Settings(epochs=4, batch=32, patience=4, schedule="cosine", optimizer="sgd")]
)
def test_an_interrupted_training_ends_as_if_it_had_not_been(
    how: Callable[[], None], at: tuple[int, int], settings: Settings, tmp_path: Path
) -> None:
    whole, told = trained(settings)
    steps = 6 if settings.patience else 7
    with pytest.raises(KeyboardInterrupt):
        trained(settings, folder=tmp_path, watch=stopping_at(at[0], min(at[1], steps), how))
    again, curves = trained(settings, folder=tmp_path)
    assert equal(whole, again)
    assert curves.epochs == told.epochs
    assert curves.resumed == at[0] - 1
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert [line["loss"] for line in lines] == list(curves.column("loss"))


def test_the_folder_and_the_watcher_need_no_parameter(tmp_path: Path) -> None:
    with (
        keeping(tmp_path / "kept", tmp_path / "told"),
        pytest.raises(KeyboardInterrupt),
        watching(stopping_at(2, 1, break_off)),
    ):
        trained(PLAIN)
    assert len(list((tmp_path / "kept").glob("*.safetensors"))) == 1
    assert (tmp_path / "told" / "metrics.jsonl").read_text().count("\n") == 1
    with keeping(tmp_path / "kept"):
        assert trained(PLAIN)[1].resumed == 1
    assert trained(PLAIN)[1].resumed == 0


def test_another_training_or_a_damaged_checkpoint_is_not_taken_up(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(PLAIN, folder=tmp_path, watch=stopping_at(3, 1, break_off))
    (file,) = tmp_path.glob("*.safetensors")
    assert trained(PLAIN, folder=tmp_path, seed=5)[1].resumed == 0
    assert trained(PLAIN, folder=tmp_path, data=rows(seed=5))[1].resumed == 0
    file.write_bytes(file.read_bytes()[:-9])
    again, curves = trained(PLAIN, folder=tmp_path)
    assert curves.resumed == 0
    assert equal(again, trained(PLAIN)[0])


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    one = trained(PLAIN, folder=tmp_path)[0]
    told: list[Advance] = []
    two, curves = trained(PLAIN, folder=tmp_path, watch=told.append)
    assert told == []
    assert curves.resumed == 4
    assert equal(one, two)


def test_a_loss_that_is_no_number_keeps_the_last_good_weights() -> None:
    good = trained(Settings(epochs=2, batch=32, lr=1e-2))[0]
    calls = 0

    def breaks(module: Any, batch: Batch) -> Any:
        nonlocal calls
        calls += 1
        return cross_entropy(module, batch) * (float("nan") if calls > 16 else 1.0)  # seven steps to an epoch

    kept, curves = trained(PLAIN, objective=breaks)
    assert equal(kept, good)
    assert len(curves.epochs) == 2
    (note,) = curves.notes
    assert note.startswith("the loss became nan in epoch 3: the weights of epoch 2 are kept")


def test_weights_that_overflow_keep_the_last_good_ones() -> None:
    def burst(module: Any) -> None:
        if int(module.body[0].weight.numel()) and len(told) >= 14:
            module.head.weight.data.fill_(float("inf"))

    told: list[Advance] = []
    kept, curves = trained(Settings(epochs=3, batch=32), watch=told.append, hooks=Hooks(after_step=burst))
    assert bool(torch.isfinite(weights_of(kept)).all())
    assert "epoch 3: the weights of epoch 2 are kept" in curves.notes[0]


def test_a_loss_that_is_no_number_at_once_is_an_error() -> None:
    with pytest.raises(TargetError, match=r"the loss became nan in the first epoch; nothing was learnt; a smaller lr"):
        trained(PLAIN, objective=lambda module, batch: cross_entropy(module, batch) * float("nan"))


def short_of_memory(most: int) -> Callable[[Any, Batch], Any]:
    def objective(module: Any, batch: Batch) -> Any:
        if len(batch) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return cross_entropy(module, batch)

    return objective


def test_out_of_memory_halves_the_batch_and_says_so() -> None:
    fits = trained(PLAIN, dropout=0.0)[0]
    halved, curves = trained(PLAIN, dropout=0.0, objective=short_of_memory(8))
    assert curves.batch == 8
    assert curves.notes[0] == "out of memory with 32 rows at once: 16 from then on, with as many to a step"
    assert torch.allclose(weights_of(fits), weights_of(halved), atol=1e-6)
    with pytest.raises(TargetError, match="the device's memory does not hold one row"):
        trained(PLAIN, objective=short_of_memory(0))


def test_a_full_disk_costs_the_checkpoint_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    module = trained(PLAIN)[0]
    with keeping(tmp_path / "file" / "kept"):
        kept = trained(PLAIN)[0]
    assert equal(module, kept)


# early stopping, balance, penalties


def test_early_stopping_keeps_the_best_epoch() -> None:
    noise = rows(60)
    noise = Rows(inputs=noise.inputs, labels=torch.randint(0, 2, (60,), generator=torch.Generator().manual_seed(3)))
    settings = Settings(epochs=60, batch=16, lr=3e-2, patience=3, validation=0.3)
    module, curves = trained(settings, data=noise, dropout=0.0)
    losses = curves.column("validation-loss")
    assert len(losses) < 60  # labels at random: nothing is to be learnt that holds elsewhere
    assert curves.best == 1 + int(np.argmin(losses)) == len(losses) - 3
    assert curves.notes == (f"stopped after epoch {len(losses)}: no better loss since epoch {curves.best}",)
    _, held = noise.split(0.3, 1)
    batch = held.batch(torch.arange(len(held)))
    assert float(cross_entropy(module, batch).detach()) == pytest.approx(min(losses), abs=1e-6)


def test_balance_gives_every_class_the_same_weight() -> None:
    labels = torch.tensor([0] * 90 + [1] * 9 + [3])
    even = Rows(inputs=torch.zeros(100, 1), labels=labels, weights=torch.linspace(1, 3, 100)).balanced()
    assert even.weights is not None
    sums = torch.bincount(labels, weights=even.weights)
    assert torch.allclose(sums[[0, 1, 3]], sums[0].expand(3), rtol=1e-5)
    assert float(even.weights.sum()) == pytest.approx(200.0, rel=1e-5)


def test_balance_finds_the_rare_class() -> None:
    draw = torch.Generator().manual_seed(4)
    labels = (torch.rand(600, generator=draw) < 0.08).long()
    inputs = torch.randn(600, 6, generator=draw) + 1.2 * labels[:, None]
    found = {}
    for balance in (False, True):
        module, _ = trained(Settings(epochs=6, lr=1e-2, balance=balance), data=Rows(inputs=inputs, labels=labels))
        found[balance] = float((module(inputs).argmax(1) == 1)[labels == 1].float().mean())
    assert found[True] > found[False] + 0.05


@pytest.mark.parametrize("penalty", ["l1", "weight_decay"])
def test_penalties_shrink_what_does_not_matter(penalty: str) -> None:
    plain = trained(Settings(epochs=20, batch=32, lr=1e-2), dropout=0.0)[0]
    shrunk = trained(Settings(epochs=20, batch=32, lr=1e-2, **{penalty: 0.02}), dropout=0.0)[0]
    of_noise = [m.body[0].weight[:, 1:].abs().mean().item() for m in (plain, shrunk)]
    assert of_noise[1] < 0.5 * of_noise[0]
    assert (shrunk(rows(seed=9).inputs).argmax(1) == rows(seed=9).labels).float().mean() > 0.8


def test_clip_bounds_the_gradient() -> None:
    norms: list[float] = []

    def step(module: Any, batch: Batch, objective: Any, backward: Any) -> Any:
        loss = 1000.0 * objective(module, batch)
        backward(loss)
        return loss

    def after(module: Any) -> None:
        norms.append(float(weights_of(module).norm()))

    start = float(weights_of(network()).norm())
    trained(Settings(epochs=1, batch=200, optimizer="sgd", lr=1.0, clip=0.1), hooks=Hooks(step=step, after_step=after))
    assert abs(norms[0] - start) <= 0.1 + 1e-5  # one step of rate 1 moves by no more than the clipped norm


def test_hooks_join_the_curves_and_can_stop() -> None:
    def after(module: Any, epoch: int) -> Any:
        return "enough" if epoch == 2 else {"robust-accuracy": 0.5}

    _, curves = trained(PLAIN, hooks=Hooks(after_epoch=after))
    assert len(curves.epochs) == 2
    assert curves.column("robust-accuracy") == (0.5,)
    assert curves.notes == ("enough",)


def test_who_watches_hears_of_every_step() -> None:
    told: list[Advance] = []
    trained(PLAIN, watch=told.append)
    assert [(a.epoch, a.step) for a in told] == [(e, s) for e in range(1, 5) for s in range(1, 8)]
    assert told[-1].share == 1.0
    assert str(told[-1]).startswith("epoch 4/4, loss 0.")


def test_dropout_of_the_settings_replaces_that_of_the_network() -> None:
    module = trained(Settings(epochs=1, dropout=0.7))[0]
    assert [m.p for m in module.modules() if isinstance(m, torch.nn.Dropout)] == [0.7]


def test_bf16_learns_too() -> None:
    module, curves = trained(Settings(epochs=4, batch=32, lr=1e-2, precision="bf16", device="cpu"))
    assert curves.precision == "bf16"
    assert weights_of(module).dtype == torch.float32
    fresh = rows(seed=9)
    out = module(fresh.inputs)
    assert out.dtype == torch.float32  # asked afterwards it computes as it is
    assert (out.argmax(1) == fresh.labels).float().mean() > 0.8


@pytest.mark.gpu
def test_a_gpu_learns_what_a_cpu_learns() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    module, curves = trained(Settings(epochs=4, batch=32, lr=1e-2))
    assert curves.device.startswith("cuda")
    fresh = rows(seed=9)
    assert (module(fresh.inputs).argmax(1) == fresh.labels).float().mean() > 0.8


# the parts, by hand


def test_losses_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    labels, weights = torch.tensor([0, 0, 1]), torch.tensor([1.0, 2.0, 1.0])
    data = Rows(inputs=logits, labels=labels, weights=weights)
    batch = data.batch(torch.arange(3))
    by_hand = np.array([np.log(1 + np.exp(-2)), np.log(1 + np.e), np.log(2)])
    assert row_losses(logits, batch).numpy() == pytest.approx(by_hand, abs=1e-6)
    same = torch.nn.Identity()
    assert float(cross_entropy(same, batch)) == pytest.approx((by_hand * [1, 2, 1]).sum() / 4, abs=1e-6)
    smooth = data.batch(torch.arange(3), smoothing=0.2)
    other = np.array([2 + by_hand[0], by_hand[1] - 1, by_hand[2]])  # −log p of the other class
    assert row_losses(logits, smooth).numpy() == pytest.approx(0.9 * by_hand + 0.1 * other, abs=1e-6)
    numbers = Rows(
        inputs=torch.tensor([[1.0], [3.0]]), labels=torch.tensor([0.0, 1.0]), weights=torch.tensor([3.0, 1.0])
    )
    assert float(squared_error(same, numbers.batch(torch.arange(2)))) == pytest.approx((3 * 1 + 4) / 4)
    assert float(weighted_mean(torch.tensor([1.0, 5.0]), numbers.batch(torch.arange(2)))) == pytest.approx(2.0)


def test_next_token_counts_each_token_but_the_first() -> None:
    table = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.2, 0.6, 0.2]]))  # log p(next | token)
    ids = torch.tensor([[0, 1, 2], [2, 0, 0]])
    labels = torch.tensor([[0, 1, 2], [2, 0, -100]])
    batch = Rows(inputs=ids, labels=labels).batch(torch.arange(2))
    expected = -np.log([0.25, 0.8, 0.2]).mean()
    assert float(next_token(lambda x: table[x], batch)) == pytest.approx(expected, abs=1e-6)


def test_next_token_and_its_gradient_are_those_of_the_written_out_softmax() -> None:
    """Rows of different length and weight; −Σ w log softmax(logits)[next] / Σ w over the places that have a next."""
    logits = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(1), requires_grad=True)
    labels = torch.tensor([[1, 4, 6, 2, 3], [1, 5, 2, -100, -100], [1, 0, -100, -100, -100]])
    weights = torch.tensor([1.0, 2.0, 0.5])
    batch = Batch(inputs=labels, labels=labels, weights=weights, groups=None, rows=torch.arange(3))
    found = next_token(lambda _: logits, batch)
    said, total = 0.0, 0.0
    for b, t in [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (2, 0)]:
        said = said - weights[b] * (logits[b, t] - logits[b, t].logsumexp(0))[labels[b, t + 1]]
        total += float(weights[b])
    assert found.item() == pytest.approx((said / total).item(), abs=1e-6)
    (one,) = torch.autograd.grad(found, logits)
    (other,) = torch.autograd.grad(said / total, logits)
    assert torch.allclose(one, other, atol=1e-7)
    assert not one[:, -1].any()  # the last place has no next


def test_batches_are_cut_to_their_longest_row() -> None:
    ids = torch.tensor([[5, 6, 7, 8], [5, 0, 0, 0], [5, 6, 0, 0]])
    data = Rows(inputs=ids, labels=torch.zeros(3), pad=0)
    assert data.batch(torch.tensor([1, 2])).inputs.tolist() == [[5, 0], [5, 6]]
    assert data.batch(torch.tensor([1, 2])).rows.tolist() == [1, 2]


def test_rate_factors() -> None:
    rising = [rate_factor(s, 10, warmup=0.4, schedule="constant") for s in range(10)]
    assert rising == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1])
    line = [rate_factor(s, 10, warmup=0.0, schedule="linear") for s in range(10)]
    assert line == pytest.approx([1 - s / 10 for s in range(10)])
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    for step in range(20):
        assert rate_factor(step, 20, warmup=0.0, schedule="cosine") == pytest.approx(
            optimizer.param_groups[0]["lr"], abs=1e-6
        )
        optimizer.step()
        oracle.step()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs is 0; it is at least 1"),
        ({"epochs": 2.5}, "epochs is 2.5, not a whole number"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"lr": 1e38}, "lr is 1e+38; it is at least 0, at most a million"),
        ({"weight_decay": float("inf")}, "weight_decay is inf; it is at least 0, at most a million"),
        ({"lr": "fast"}, "lr is 'fast', not a number"),
        ({"batch": True}, "batch is True, not a number"),
        ({"dropout": 1.0}, "dropout is 1.0; it is from 0 to below 1"),
        ({"optimizer": "lion"}, "optimizer is 'lion'; it is one of adam, adamw, sgd"),
        ({"track": "wandb"}, "track is 'wandb'; it is tensorboard or mlflow"),
    ],
)
def test_settings_are_checked(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=re.escape(message)):
        Settings(**wrong)


def test_rows_that_do_not_fit() -> None:
    with pytest.raises(TargetError, match="no rows to learn from"):
        Rows(inputs=torch.zeros(0, 2), labels=torch.zeros(0))
    with pytest.raises(TargetError, match="3 labels do not fit 2 rows"):
        Rows(inputs=torch.zeros(2, 2), labels=torch.zeros(3))
    with pytest.raises(TargetError, match="1 rows cannot be split"):
        Rows(inputs=torch.zeros(1, 2), labels=torch.zeros(1)).split(0.5, 0)
    if not torch.cuda.is_available():
        with pytest.raises(TargetError, match="there is no CUDA device; write device: auto or cpu"):
            trained(Settings(device="cuda"))


class FakeMlflow:
    def __init__(self) -> None:
        self.said: list[Any] = []

    def start_run(self, **given: Any) -> None:
        self.said.append(given)

    def log_metrics(self, numbers: dict[str, float], step: int) -> None:
        self.said.append((step, numbers))

    def end_run(self) -> None:
        self.said.append("end")


def test_trackers_hear_each_epoch_and_missing_ones_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeMlflow()
    monkeypatch.setitem(__import__("sys").modules, "mlflow", fake)
    _, curves = trained(Settings(epochs=2, track="mlflow"))
    assert [entry[0] for entry in fake.said[1:3]] == [1, 2]
    assert fake.said[1][1]["loss"] == curves.column("loss")[0]
    assert fake.said[-1] == "end"
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(PlanError, match="mlflow is not installed; pip install mlflow"):
        Journal(None, "mlflow")
