"""Adversarial training, and the attack that measures what it gained: perturbations in an L∞ ball around the inputs.

Each way of training is an objective: called with a module and a batch, it makes the batch adversarial against the
module as it is, and gives the loss to step on. Perturbations are found with the module in evaluation mode and without
leaving gradients on its parameters. Random starts are drawn from PyTorch's generator, which the training loop seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from steelyard.models.training.batches import Batch
from steelyard.models.training.objective import row_losses, weighted_mean

__all__ = ["Attack", "Awp", "Ball", "CollapseCheck", "Fgsm", "Pgd", "Trades", "attack", "cross_entropies", "perturb"]

Harm = Callable[[Tensor], Tensor]  # logits (n, classes) → (n,) what the perturbation makes as large as it can


@dataclass(frozen=True, slots=True, kw_only=True)
class Ball:
    """Where a perturbed input may lie: |x' - x| ≤ `eps` in every number, and within [`low`, `high`].

    Pixels lie in [0, 1]; standardised columns have no limits. `step` is the length of one step of the search. Where
    `movable` is not 0, only the first so many numbers of a row move: those of a table, not its one-hot words.
    """

    eps: float
    step: float
    low: float = 0.0
    high: float = 1.0
    movable: int = 0

    def __post_init__(self) -> None:
        if not (self.eps > 0 and self.step > 0):
            raise ValueError(f"eps is {self.eps} and step {self.step}; both are above 0")

    def times(self, share: float) -> Ball:
        """The ball with `share` of the radius and of the step."""
        return replace(self, eps=self.eps * share, step=self.step * share)

    def hold(self, moved: Tensor, inputs: Tensor) -> Tensor:
        """The nearest point of the ball around `inputs`."""
        held = torch.clamp(moved, inputs - self.eps, inputs + self.eps).clamp(self.low, self.high)
        return torch.cat([held[:, : self.movable], inputs[:, self.movable :]], dim=1) if self.movable else held

    def start(self, inputs: Tensor) -> Tensor:
        """A point drawn uniformly from the ball (before it is cut off at low and high)."""
        return self.hold(inputs + self.eps * (2 * torch.rand_like(inputs) - 1), inputs)


def perturb(module: nn.Module, inputs: Tensor, harm: Harm, ball: Ball, *, steps: int, start: Tensor) -> Tensor:
    """Projected gradient ascent: x' ← hold(x' + step · sign ∇ harm(f(x'))), `steps` times. The same shape as `inputs`.

    Madry et al. 2018, arXiv:1706.06083. The last point is taken, not the most harmful on the way.
    """
    moved = start.detach()
    with _watched(module):
        for _ in range(steps):
            moved.requires_grad_(True)
            (slope,) = torch.autograd.grad(harm(module(moved)).sum(), moved)
            moved = ball.hold(moved.detach() + ball.step * slope.sign(), inputs)
    return moved.detach()


@contextmanager
def _watched(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while: dropout and batch statistics are not what the perturbation should work against."""
    training = module.training
    module.eval()
    try:
        with torch.enable_grad():
            yield
    finally:
        module.train(training)


def cross_entropies(labels: Tensor) -> Harm:
    """(n,) each row's cross-entropy at its label."""
    return lambda logits: nn.functional.cross_entropy(logits, labels, reduction="none")


@dataclass(frozen=True, kw_only=True)
class Pgd:
    """The loss at the worst point that PGD finds: min over the weights of the mean of max over the ball of the loss.

    Madry et al. 2018, arXiv:1706.06083.
    """

    ball: Ball
    steps: int = 10

    def worst(self, module: nn.Module, batch: Batch) -> Tensor:
        """The batch's inputs, made adversarial against the module as it is."""
        start = self.ball.start(batch.inputs)
        return perturb(module, batch.inputs, cross_entropies(batch.labels), self.ball, steps=self.steps, start=start)

    def __call__(self, module: nn.Module, batch: Batch) -> Tensor:
        """The mean loss at the adversarial points."""
        return weighted_mean(row_losses(module(self.worst(module, batch)), batch), batch)


@dataclass(frozen=True, kw_only=True)
class Fgsm(Pgd):
    """One step of 1.25 eps from a random start: nearly as good as PGD for a fraction of its cost, until it is not.

    Wong, Rice, Kolter 2020, Fast is better than free, arXiv:2001.03994. It can collapse within one epoch to a module
    that only single steps do not fool (catastrophic overfitting); `CollapseCheck` looks for that.
    """

    steps: int = 1

    def worst(self, module: nn.Module, batch: Batch) -> Tensor:
        """The batch's inputs after one long step."""
        ball = replace(self.ball, step=1.25 * self.ball.eps)
        start = ball.start(batch.inputs)
        return perturb(module, batch.inputs, cross_entropies(batch.labels), ball, steps=1, start=start)


@dataclass(frozen=True, kw_only=True)
class Trades(Pgd):
    """The loss on clean rows + beta · KL(f(x) ‖ f(x')), x' the point of the ball where the KL divergence is largest.

    Zhang et al. 2019, arXiv:1901.08573; beta (theirs is 1/λ) trades accuracy for robustness.
    """

    beta: float = 6.0

    def __call__(self, module: nn.Module, batch: Batch) -> Tensor:
        """Both terms, each a mean over the batch."""
        with _watched(module), torch.no_grad():
            clean = module(batch.inputs).log_softmax(dim=1)
        near = self.ball.hold(batch.inputs + 0.001 * torch.randn_like(batch.inputs), batch.inputs)
        worst = perturb(
            module, batch.inputs, lambda logits: _divergence(clean, logits), self.ball, steps=self.steps, start=near
        )
        logits = module(batch.inputs)
        apart = _divergence(logits.float().log_softmax(dim=1), module(worst))
        return weighted_mean(row_losses(logits, batch) + self.beta * apart, batch)


def _divergence(logp: Tensor, logits: Tensor) -> Tensor:
    """(n,) KL(p ‖ softmax(logits)) of log-probabilities `logp` (n, classes), in nats."""
    return nn.functional.kl_div(logits.float().log_softmax(dim=1), logp, reduction="none", log_target=True).sum(dim=1)


@dataclass(frozen=True, kw_only=True)
class Awp(Pgd):
    """PGD's loss where the weights, too, are moved for the worse: by v = gamma · ‖w‖ / ‖g‖ · g in each layer.

    g is the gradient of the adversarial loss. The step is taken from w by the gradient at w + v, which flattens the
    loss around the weights. Wu, Xia, Wang 2020, arXiv:2004.05884. Biases and norms are not moved.
    """

    gamma: float = 0.01

    def __call__(self, module: nn.Module, batch: Batch) -> Tensor:
        """The loss at w + v; its gradient in w is that at w + v, since v is a constant."""
        worst = self.worst(module, batch)
        weights = {name: p for name, p in module.named_parameters() if p.requires_grad and p.dim() > 1}
        loss = weighted_mean(row_losses(module(worst), batch), batch)
        slopes = torch.autograd.grad(loss, list(weights.values()))
        moved = {
            name: p + self.gamma * p.detach().norm() / slope.norm().clamp(min=1e-12) * slope.detach()
            for (name, p), slope in zip(weights.items(), slopes, strict=True)
        }
        return weighted_mean(row_losses(functional_call(module, moved, (worst,)), batch), batch)


class CollapseCheck:
    """PGD accuracy on held-out rows after each epoch of fast training; it stops where that accuracy has broken down.

    Called with the module and the epoch (a training hook): gives the accuracy, or, where it fell below half of the best
    so far, a line that says so. `best` then holds the weights of the best epoch.
    """

    def __init__(self, inputs: Tensor, labels: Tensor, ball: Ball, *, steps: int = 10, seed: int = 0) -> None:
        self.inputs, self.labels, self.ball, self.steps, self.seed = inputs, labels, ball, steps, seed
        self.top = 0.0
        self.collapsed = False
        self.best: dict[str, Tensor] = {}

    def __call__(self, module: nn.Module, epoch: int) -> dict[str, float] | str:
        """{"pgd-accuracy": share of the held-out rows that survive}, or why training stops."""
        device = next(module.parameters()).device
        inputs, labels = self.inputs.to(device), self.labels.to(device)
        found = attack(module, inputs, labels, self.ball, steps=self.steps, restarts=1, seed=self.seed)
        share = float(found.survived.float().mean())
        if share < 0.5 * self.top:
            self.collapsed = True
            return (
                f"catastrophic overfitting in epoch {epoch}: accuracy under PGD fell from {self.top:.2f} to"
                f" {share:.2f}; the weights from before are kept"
            )
        if share >= self.top:
            self.top = share
            self.best = {name: value.detach().clone() for name, value in module.state_dict().items()}
        return {"pgd-accuracy": share}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """What an attack found: `inputs` (n, …) its last point for each row, `survived` (n,) whether no restart fooled it.

    `clean` (n,) says whether the row was classified rightly to begin with; one that was not has not survived.
    """

    inputs: Tensor
    survived: Tensor
    clean: Tensor


def attack(
    module: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    ball: Ball,
    *,
    steps: int = 50,
    restarts: int = 5,
    seed: int = 0,
) -> Attack:
    """PGD on the cross-entropy from `restarts` random starts; a row is given up at the first that fools the module.

    `inputs` are as the module takes them. An attack that fails shows no safety: a stronger one may succeed.
    """
    points = inputs.clone()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        with _watched(module), torch.no_grad():
            clean = _answers(module, inputs) == labels
        survived = clean.clone()
        for _ in range(restarts):
            for rows in survived.nonzero()[:, 0].split(500):
                harm = cross_entropies(labels[rows])
                moved = perturb(module, inputs[rows], harm, ball, steps=steps, start=ball.start(inputs[rows]))
                with _watched(module), torch.no_grad():
                    survived[rows] = module(moved).argmax(dim=1) == labels[rows]
                points[rows] = moved
    return Attack(inputs=points, survived=survived, clean=clean)


def _answers(module: nn.Module, inputs: Tensor) -> Tensor:
    return torch.cat([module(rows).argmax(dim=1) for rows in inputs.split(500)])
