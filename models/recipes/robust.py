"""Robust references: networks trained on perturbed rows, which show how much of a model's frailty could be avoided."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import PlanError, TargetError
from steelyard.audit.target import Sample
from steelyard.audit.types import Modality, Task
from steelyard.models.recipes.cnn import ImageRecipe
from steelyard.models.recipes.encoder import EncoderRecipe
from steelyard.models.recipes.mlp import MlpRecipe
from steelyard.models.recipes.networks import NetworkRecipe
from steelyard.models.recipes.recipe import Recipe

if TYPE_CHECKING:
    from steelyard.models.networks.network import Network
    from steelyard.models.training.adversarial import Ball, CollapseCheck
    from steelyard.models.training.loop import Curves, Objective, Rows

__all__ = ["ROBUST", "RobustCnn", "RobustEncoder", "RobustMlp"]

METHODS = ("pgd", "trades", "awp", "fast")
_RUNGS = (0.25, 0.5, 0.75)  # of eps, while it grows: at full eps from the start a network often learns nothing at all
_HELD_BACK = 200  # rows that fast training is checked on


@dataclass(frozen=True, kw_only=True)
class _Robust(NetworkRecipe):
    """Adversarial training in an L∞ ball of radius `eps` around each row; `method` says how.

    pgd: Madry et al. 2018, arXiv:1706.06083; trades (with `beta`): Zhang et al. 2019, arXiv:1901.08573; awp (with
    `gamma`): Wu et al. 2020, arXiv:2004.05884; fast, a single step, checked for collapse after each epoch: Wong et al.
    2020, arXiv:2001.03994. `steps` steps of length `step` search the ball. Images stay within [0, 1]; in a table eps
    is in standard deviations, and only numbers move, not words. Over the first `ease` share of the epochs the ball
    grows, by quarters.
    """

    family: ClassVar[str] = "robust"
    variant: ClassVar[str] = "robust"
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.MULTICLASS})

    method: str = "pgd"
    eps: float = 0.3
    step: float = 0.06
    steps: int = 10
    ease: float = 0.3
    beta: float = 6.0
    gamma: float = 0.01

    def __post_init__(self) -> None:
        """Check the attack's settings as well."""
        super().__post_init__()
        if self.method not in METHODS:
            raise PlanError(f"method is {self.method!r}", where=self.id, hint=f"it is one of {', '.join(METHODS)}")
        for name in ("eps", "step", "steps", "beta", "gamma"):
            if not getattr(self, name) > 0:
                raise PlanError(f"{name} is {getattr(self, name)!r}", where=self.id, hint="it is above 0")
        if not 0 <= self.ease < 1:
            raise PlanError(f"ease is {self.ease!r}", where=self.id, hint="it is from 0 to below 1")

    def ball(self, network: Network) -> Ball:
        """Where perturbed rows may lie, in the units of the network's prepared inputs."""
        from steelyard.models.networks.prepare import TablePrepare
        from steelyard.models.training.adversarial import Ball

        if not isinstance(network.prepare, TablePrepare):
            return Ball(eps=self.eps, step=self.step)
        numbers = len(network.prepare.numeric)
        if not numbers:
            raise TargetError("no column is a number, and words cannot move a little", where=self.id)
        return Ball(eps=self.eps, step=self.step, low=float("-inf"), high=float("inf"), movable=numbers)

    def objective(self, network: Network, share: float = 1.0) -> Objective:
        """The method's loss in a ball of `share` of the radius."""
        from steelyard.models.training.adversarial import Awp, Fgsm, Pgd, Trades

        ball = self.ball(network).times(share)
        if self.method == "trades":
            return Trades(ball=ball, steps=self.steps, beta=self.beta)
        if self.method == "awp":
            return Awp(ball=ball, steps=self.steps, gamma=self.gamma)
        return Fgsm(ball=ball) if self.method == "fast" else Pgd(ball=ball, steps=self.steps)

    def run(self, network: Network, rows: Rows, train: Sample, seed: int) -> Curves:
        """Train while the ball grows, then in the whole ball; each stage can be taken up again where it stopped."""
        from steelyard.models.networks.determinism import draw_seed
        from steelyard.models.training.loop import Hooks, train_network

        check = None
        if self.method == "fast":
            rows, check = self._held_back(network, rows, seed)
        done: list[Curves] = []
        for share, epochs in self.stages():
            last = share == 1.0
            settings = replace(self.loop_settings(network), epochs=epochs)
            curves = train_network(
                network.module,
                rows,
                settings if last else replace(settings, schedule="constant", patience=0),
                seed=draw_seed(seed, f"eps × {share}") % 2**31,
                objective=self.objective(network, share),
                hooks=Hooks(after_epoch=check) if last and check is not None else None,
            )
            done.append(curves)
        if check is not None and check.collapsed:
            network.module.load_state_dict(check.best)
        return joined(done)

    def stages(self) -> list[tuple[float, int]]:
        """(share of eps, epochs) of each stage; the epochs add up to `epochs`."""
        easing = int(self.ease * self.epochs)
        ends = [easing * (place + 1) // len(_RUNGS) for place in range(len(_RUNGS))]
        lengths = [after - before for before, after in pairwise([0, *ends])]
        rungs = [(share, epochs) for share, epochs in zip(_RUNGS, lengths, strict=True) if epochs]
        return [*rungs, (1.0, self.epochs - easing)]

    def _held_back(self, network: Network, rows: Rows, seed: int) -> tuple[Rows, CollapseCheck]:
        from steelyard.models.training.adversarial import CollapseCheck

        rows, held = rows.split(min(0.2, _HELD_BACK / len(rows)), seed)
        return rows, CollapseCheck(held.inputs, held.labels, self.ball(network), seed=seed)


def joined(stages: list[Curves]) -> Curves:
    """The curves of trainings one after the other as one; the best epoch is that of the last."""
    before = sum(len(curves.epochs) for curves in stages[:-1])
    return replace(
        stages[-1],
        epochs=tuple(epoch for curves in stages for epoch in curves.epochs),
        notes=tuple(note for curves in stages for note in curves.notes),
        seconds=sum(curves.seconds for curves in stages),
        peak_memory=max(curves.peak_memory for curves in stages),
        best=before + stages[-1].best,
        resumed=sum(curves.resumed for curves in stages),
    )


@dataclass(frozen=True, kw_only=True)
class RobustMlp(_Robust, MlpRecipe):
    """The multilayer perceptron, adversarially trained; at eps 0.1, since it cannot keep much of 0.3."""

    summary: ClassVar[str] = "a multilayer perceptron trained on perturbed rows"

    eps: float = 0.1
    step: float = 0.02
    epochs: int = 20


@dataclass(frozen=True, kw_only=True)
class RobustCnn(_Robust, ImageRecipe):
    """A small network of strided convolutions, adversarially trained. The defaults are for images like MNIST's."""

    name: ClassVar[str] = "cnn"
    architecture: ClassVar[str] = "cnn-strided"
    summary: ClassVar[str] = "a strided convolutional network trained on perturbed images"

    epochs: int = 30
    batch: int = 128
    lr: float = 4e-3
    schedule: str = "linear"
    filters: int = 16
    hidden: int = 100

    def configuration(self, prepare: Any, outputs: int) -> dict[str, Any]:
        """The shape of an image, the filters and the hidden layer."""
        return {**super().configuration(prepare, outputs), "filters": self.filters, "hidden": self.hidden}


@dataclass(frozen=True, kw_only=True)
class RobustEncoder(EncoderRecipe):
    """The Transformer encoder, its words' embeddings moved in training: FreeLB, Zhu et al. 2020, arXiv:1909.11764.

    `eps` is the L2 radius of a row's perturbation and `step` the length of each of `steps` ascents, both in shares of
    the length of the row's own embeddings.
    """

    family: ClassVar[str] = "robust"
    variant: ClassVar[str] = "robust"
    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.TEXT})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.MULTICLASS})
    summary: ClassVar[str] = "a Transformer encoder trained on perturbed embeddings (FreeLB)"

    method: str = "freelb"
    eps: float = 0.1
    step: float = 0.04
    steps: int = 3

    def __post_init__(self) -> None:
        """Check the attack's settings as well."""
        super().__post_init__()
        if self.method != "freelb":
            raise PlanError(f"method is {self.method!r}", where=self.id, hint="for text it is freelb")
        for name in ("eps", "step", "steps"):
            if not getattr(self, name) > 0:
                raise PlanError(f"{name} is {getattr(self, name)!r}", where=self.id, hint="it is above 0")

    def objective(self, network: Network) -> Objective:
        """The mean loss at the points of the ascent."""
        from steelyard.models.training.freelb import FreeLb

        return FreeLb(eps=self.eps, step=self.step, steps=self.steps)


ROBUST: tuple[Recipe, ...] = (RobustMlp(), RobustCnn(), RobustEncoder())
