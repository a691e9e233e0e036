"""Adversarial objectives and the attack against closed forms, finite differences and copies written by hand."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from steelyard.models.networks.architectures import build  # noqa: E402
from steelyard.models.training.adversarial import (  # noqa: E402
    Awp,
    Ball,
    CollapseCheck,
    Fgsm,
    Pgd,
    Trades,
    attack,
    cross_entropies,
    perturb,
)
from steelyard.models.training.batches import Batch  # noqa: E402
from steelyard.models.training.freelb import FreeLb  # noqa: E402

FREE = {"low": float("-inf"), "high": float("inf")}


def batch_of(inputs: Any, labels: Any, weights: Any = None) -> Batch:
    n = len(inputs)
    ones = torch.ones(n) if weights is None else weights
    return Batch(inputs=inputs, labels=labels, weights=ones, groups=None, rows=torch.arange(n))


@pytest.fixture
def data() -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(40, 6, generator=generator), torch.randint(0, 2, (40,), generator=generator)


def network(seed: int = 0, **more: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build("mlp", inputs=6, classes=2, hidden=16, **more)


def test_on_a_linear_model_pgd_finds_the_worst_corner(data: tuple[Any, Any]) -> None:
    inputs, labels = data
    model = torch.nn.Linear(6, 2)
    ball = Ball(eps=0.2, step=0.05, **FREE)
    found = perturb(model, inputs, cross_entropies(labels), ball, steps=12, start=inputs)
    away = (model.weight[1] - model.weight[0]).detach()
    signs = (1 - 2 * labels)[:, None] * away.sign()  # toward the other class
    torch.testing.assert_close(found, inputs + 0.2 * signs)


def test_points_stay_in_the_ball_and_in_the_image(data: tuple[Any, Any]) -> None:
    inputs, labels = data
    ball = Ball(eps=0.3, step=0.1)
    for start in (inputs, ball.start(inputs)):
        found = perturb(network(), inputs, cross_entropies(labels), ball, steps=5, start=start)
        assert float((found - inputs).abs().max()) <= 0.3 + 1e-6
        assert float(found.min()) >= 0.0
        assert float(found.max()) <= 1.0
        assert not torch.equal(found, inputs)


def test_only_the_movable_numbers_move(data: tuple[Any, Any]) -> None:
    inputs, labels = data
    ball = Ball(eps=0.3, step=0.1, movable=2, **FREE)
    found = perturb(network(), inputs, cross_entropies(labels), ball, steps=3, start=ball.start(inputs))
    assert torch.equal(found[:, 2:], inputs[:, 2:])
    assert float((found[:, :2] - inputs[:, :2]).abs().max()) > 0.1


def test_the_attack_leaves_the_module_and_the_generator_as_they_were(data: tuple[Any, Any]) -> None:
    inputs, labels = data
    module = network(dropout=0.5).train()
    before, state = copy.deepcopy(module.state_dict()), torch.random.get_rng_state()
    first = attack(module, inputs, labels, Ball(eps=0.3, step=0.1), steps=3, restarts=2, seed=5)
    again = attack(module, inputs, labels, Ball(eps=0.3, step=0.1), steps=3, restarts=2, seed=5)
    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(state, torch.random.get_rng_state())
    assert module.training
    assert all(p.grad is None for p in module.parameters())
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_more_restarts_never_save_a_row(data: tuple[Any, Any]) -> None:
    inputs, labels = data
    module = network().eval()
    labels = module(inputs).argmax(1)  # all right to begin with
    ball = Ball(eps=0.15, step=0.05)
    one = attack(module, inputs, labels, ball, steps=2, restarts=1)
    five = attack(module, inputs, labels, ball, steps=2, restarts=5)
    assert one.clean.all()
    assert (five.survived <= one.survived).all()
    moved = module(five.inputs).argmax(1) == labels
    assert torch.equal(moved, five.survived)  # the points shown are the evidence


def test_a_row_that_was_wrong_has_not_survived(data: tuple[Any, Any]) -> None:
    inputs, _ = data
    module = network().eval()
    wrong = 1 - module(inputs).argmax(1)
    found = attack(module, inputs, wrong, Ball(eps=0.01, step=0.01), steps=1, restarts=1)
    assert not found.clean.any()
    assert not found.survived.any()


def test_trades_is_the_clean_loss_and_the_divergence(data: tuple[Any, Any]) -> None:
    from scipy.special import rel_entr, softmax

    inputs, labels = data
    module = network()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        loss = Trades(ball=Ball(eps=0.2, step=0.1), steps=2, beta=3.0)(module, batch_of(inputs, labels))
    still = Trades(ball=Ball(eps=1e-9, step=1e-9), steps=1, beta=3.0)(module, batch_of(inputs, labels))
    plain = torch.nn.functional.cross_entropy(module(inputs), labels)
    torch.testing.assert_close(still, plain, atol=1e-5, rtol=0)
    with torch.random.fork_rng():  # the same by hand, with scipy's relative entropy
        torch.manual_seed(1)
        ball = Ball(eps=0.2, step=0.1)
        clean = module(inputs).detach().double().numpy()
        near = ball.hold(inputs + 0.001 * torch.randn_like(inputs), inputs)
        for _ in range(2):
            near = near.detach().requires_grad_()
            logq = module(near).log_softmax(1)
            p = torch.tensor(softmax(clean, axis=1), dtype=torch.float32)
            (slope,) = torch.autograd.grad(-(p * logq).sum(), near)
            near = ball.hold(near.detach() + 0.1 * slope.sign(), inputs)
    moved = module(near).detach().double().numpy()
    apart = rel_entr(softmax(clean, axis=1), softmax(moved, axis=1)).sum(axis=1).mean()
    assert loss.item() == pytest.approx(plain.item() + 3.0 * apart, abs=1e-5)
    assert apart > 1e-4


def test_awp_steps_by_the_gradient_at_moved_weights(data: tuple[Any, Any]) -> None:
    inputs, labels = data
    module = network()
    objective = Awp(ball=Ball(eps=1e-9, step=1e-9), steps=1, gamma=0.05)
    objective(module, batch_of(inputs, labels)).backward()
    found = {name: p.grad.clone() for name, p in module.named_parameters()}
    other = network()
    torch.nn.functional.cross_entropy(other(inputs), labels).backward()
    with torch.no_grad():
        for p in other.parameters():
            if p.dim() > 1:
                p.add_(0.05 * p.norm() / p.grad.norm() * p.grad)
    other.zero_grad()
    torch.nn.functional.cross_entropy(other(inputs), labels).backward()
    for name, p in other.named_parameters():
        torch.testing.assert_close(found[name], p.grad, atol=1e-5, rtol=1e-4)
    plain = network()
    torch.nn.functional.cross_entropy(plain(inputs), labels).backward()
    assert not torch.allclose(found["head.weight"], plain.head.weight.grad, atol=1e-4)


def test_rows_that_weigh_nothing_do_not_count(data: tuple[Any, Any]) -> None:
    inputs, labels = data
    weights = (torch.arange(40) < 20).float()
    for objective in (Pgd(ball=Ball(eps=0.2, step=0.1), steps=2), Fgsm(ball=Ball(eps=0.2, step=0.1))):
        losses = []
        for other in (labels, torch.where(weights > 0, labels, 1 - labels)):
            with torch.random.fork_rng():
                torch.manual_seed(0)
                losses.append(objective(network(), batch_of(inputs, other, weights)).item())
        assert losses[0] == losses[1]


def test_the_collapse_check_stops_and_keeps_the_best_weights(data: tuple[Any, Any]) -> None:
    inputs, _ = data
    module = network().eval()
    labels = module(inputs).argmax(1)
    check = CollapseCheck(inputs, labels, Ball(eps=0.01, step=0.01), steps=2)
    good = copy.deepcopy(module.state_dict())
    said = check(module, 1)
    assert isinstance(said, dict)
    assert said["pgd-accuracy"] > 0.5
    with torch.no_grad():
        module.head.weight.neg_()
        module.head.bias.neg_()
    said = check(module, 2)
    assert isinstance(said, str)
    assert "catastrophic overfitting in epoch 2" in said
    assert check.collapsed
    assert all(torch.equal(check.best[name], value) for name, value in good.items())


def test_freelb_moves_words_within_its_ball_and_leaves_padding() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build("encoder", vocabulary=30, classes=2, length=8, width=16, layers=1, heads=2, dropout=0.0).eval()
        ids = torch.randint(1, 30, (12, 8))
    ids[:6, 5:] = 0
    labels = torch.arange(12) % 2
    seen: list[Any] = []
    forward = module.forward

    def spy(inputs: Any, embedded: Any = None) -> Any:
        seen.append((embedded - module.embed_tokens(inputs)).detach())
        return forward(inputs, embedded)

    module.forward = spy
    loss = FreeLb(eps=0.5, step=0.4, steps=3, start=0.2)(module, batch_of(ids, labels))
    loss.backward()
    assert len(seen) == 3
    length = (module.embed_tokens(ids) * (ids != 0)[..., None]).flatten(1).norm(dim=1)
    far = torch.stack([moved.flatten(1).norm(dim=1) / length for moved in seen]).detach()
    assert float(far.max()) <= 0.5 + 1e-5
    assert float(far[0].max()) <= 0.2 + 1e-5
    assert float(far[2].min()) > 0.2
    assert all(float(moved[:6, 5:].abs().max()) == 0.0 for moved in seen)
    del module.forward
    with torch.no_grad():
        losses = [
            float(torch.nn.functional.cross_entropy(module(ids, embedded=module.embed_tokens(ids) + d), labels))
            for d in seen
        ]
    assert loss.item() == pytest.approx(np.mean(losses), abs=1e-5)
    assert losses[2] > losses[0]  # it climbs
