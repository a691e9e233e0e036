"""K models of one architecture trained as one program, each on its own rows, from its own seed.

For shadow models and for the spread over seeds. The forward passes of all K models are one `vmap` of
`functional_call` over stacked parameters, and their summed loss has one backward pass: the gradient of a sum of losses
that share no parameter is each model's own. What K separate runs would give comes out, to rounding.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from steelyard.audit.errors import TargetError
from steelyard.models.networks.determinism import RANDOM_NUMBERS, torch_threads

__all__ = ["Ensemble", "EnsembleSettings", "choose_way", "train_ensemble"]

Way = Literal["batched", "loop"]
_AT_ONCE = 64  # models in one program: 64 batches of 64 MNIST images are 13 MB, and speed gains little from more
_SMALL = 256  # numbers in a row up to which batched convolutions are the faster on a CPU; see `choose_way`
_ROWS_AT_ONCE = 1024  # rows of one forward pass when predicting


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleSettings:
    """How each model is trained: Adam (Kingma and Ba 2015, arXiv:1412.6980), otherwise as PyTorch sets it.

    `way` is "batched", "loop", or "auto" (see `choose_way`); `jobs` are the loop's processes (1 in a session connected
    to a Ray cluster: as many as the cluster has).
    """

    epochs: int = 30
    batch: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.0
    way: Literal["auto", "batched", "loop"] = "auto"
    jobs: int = 1
    device: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """K trained models. `state` holds every parameter and buffer by name, stacked to (K, …); `losses` is (epochs, K).

    `losses` are each model's mean cross-entropy over its own rows while an epoch went on, in nats.
    """

    module: nn.Module  # the architecture; its own numbers mean nothing
    state: Mapping[str, Tensor]
    losses: NDArray[np.float64]
    way: Way

    def __len__(self) -> int:
        return int(self.losses.shape[1])

    def logits(self, inputs: Tensor) -> NDArray[np.float32]:
        """(K, n, classes) scores before the softmax, of inputs (n, …) as the module takes them."""
        device = next(iter(self.state.values())).device
        parts = []
        with torch.no_grad():
            for rows in inputs.split(_ROWS_AT_ONCE):
                here = rows.to(device)
                if self.way == "batched":
                    chunks = [self._together(here, chunk) for chunk in torch.arange(len(self)).split(_AT_ONCE)]
                else:
                    chunks = [functional_call(self.module, self.one(k), (here,))[None] for k in range(len(self))]
                parts.append(torch.cat(chunks).float().cpu())
        found: NDArray[np.float32] = torch.cat(parts, dim=1).numpy()
        return found

    def one(self, k: int) -> dict[str, Tensor]:
        """The state dict of model k."""
        return {name: value[k] for name, value in self.state.items()}

    def _together(self, rows: Tensor, chunk: Tensor) -> Tensor:
        state = {name: value[chunk.to(value.device)] for name, value in self.state.items()}
        return vmap(lambda own: functional_call(self.module, own, (rows,)))(state)  # (K, n, classes)


def train_ensemble(
    build: Callable[[], nn.Module],
    inputs: Tensor,
    labels: Tensor,
    members: NDArray[np.bool_],
    *,
    seeds: Sequence[int],
    settings: EnsembleSettings | None = None,
) -> Ensemble:
    """Train K classifiers, model k on the rows where `members[k]` is true.

    `build` makes one untrained module; `inputs` (n, …) and `labels` (n,) are all rows; `members` is (K, n); `seeds[k]`
    sets the first weights and the order of the rows of model k. Every model takes the same number of steps in an epoch,
    ⌈most rows of a model / batch⌉, over nearly equal parts of its own rows, so that subsets may differ in size.
    Raises TargetError where a model has no rows, the shapes do not fit, or a loss is not finite.
    """
    how = settings or EnsembleSettings()
    _check(inputs, labels, members, seeds)
    device = _device(how.device)
    most, least = int(members.sum(axis=1).max()), int(members.sum(axis=1).min())
    steps = -(-most // how.batch)
    if least < steps:
        fault = f"one model has {most} rows and another {least}: too few for the {steps} batches of an epoch"
        raise TargetError(fault, where="ensemble", hint="larger batches, or subsets of like size")
    first = _built(build, int(seeds[0]))
    way: Way = choose_way(first, device, inputs[0].numel()) if how.way == "auto" else how.way
    rows, answers = inputs.to(device), labels.to(device)
    if way == "batched":
        parts = []
        with torch_threads():
            for at in range(0, len(seeds), _AT_ONCE):
                chunk = slice(at, at + _AT_ONCE)
                parts.append(_train_stacked(build, rows, answers, members[chunk], seeds[chunk], steps, how))
    else:
        jobs = (
            joblib.delayed(_train_one)(build, rows, answers, m, int(s), steps, how) for m, s in _each(members, seeds)
        )
        with _cluster(how.jobs) as processes:
            parts = list(joblib.Parallel(n_jobs=processes)(jobs))
    losses = np.concatenate([part[1] for part in parts], axis=1)
    if not np.isfinite(losses).all():
        lost = int((~np.isfinite(losses).all(axis=0)).sum())
        raise TargetError(
            f"the loss of {lost} of {len(seeds)} models is not finite", where="ensemble", hint="a lower lr"
        )
    state = {name: torch.cat([part[0][name] for part in parts]) for name in parts[0][0]}
    return Ensemble(module=first.to(device).eval(), state=state, losses=losses, way=way)


def choose_way(module: nn.Module, device: torch.device, size: int) -> Way:
    """Whether models like this are trained batched or one by one, on rows of `size` numbers.

    A rule and not a stopwatch, since results must not vary. One by one where stacking would not give what separate runs
    give (normalisation that keeps running statistics; dropout, whose random numbers would be drawn in another order),
    and for convolutions over larger images on a CPU: `vmap` turns them into grouped ones, which were measured at 2.0,
    1.2, 0.8 and 0.3 times the speed of a loop for images of 8 × 8, 14 × 14 and 28 × 28 (3×3 and strided 4×4).
    """
    parts = list(module.modules())
    running = any(True for _ in module.buffers())
    dropout = any(isinstance(p, nn.modules.dropout._DropoutNd) and p.p > 0 for p in parts)
    attention = any(isinstance(p, nn.MultiheadAttention) for p in parts)
    convolution = any(isinstance(p, nn.modules.conv._ConvNd) for p in parts)
    if running or dropout or attention or (convolution and device.type == "cpu" and size > _SMALL):
        return "loop"
    return "batched"


def _train_stacked(
    build: Callable[[], nn.Module],
    inputs: Tensor,
    labels: Tensor,
    members: NDArray[np.bool_],
    seeds: Sequence[int],
    steps: int,
    how: EnsembleSettings,
) -> tuple[dict[str, Tensor], NDArray[np.float64]]:
    modules = [_built(build, int(seed)).to(inputs.device) for seed in seeds]
    parameters, buffers = stack_module_state(modules)
    if buffers:
        raise TargetError(
            "these models keep running statistics, which cannot be stacked", where="ensemble", hint="loop"
        )
    state = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    forward = vmap(lambda own, rows: functional_call(modules[0], own, (rows,)), randomness="different")
    # The fused step is the same arithmetic in one pass over the memory.
    optimizer = torch.optim.Adam(state.values(), lr=how.lr, weight_decay=how.weight_decay, fused=True)
    draws = [_Order(m, int(s), steps) for m, s in _each(members, seeds)]
    sizes = torch.tensor([draw.n for draw in draws], device=inputs.device)
    losses = np.zeros((how.epochs, len(seeds)))
    for epoch in range(how.epochs):
        total = torch.zeros(len(seeds), device=inputs.device)
        for rows, weight in _stacked_batches(draws, inputs.device):  # (K, b) row numbers, (K, b) 1 or 0
            logits = forward(state, inputs[rows])  # (K, b, classes)
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels[rows].flatten(), reduction="none")
            summed = (loss.view_as(weight) * weight).sum(dim=1)  # (K,)
            optimizer.zero_grad()
            (summed / weight.sum(dim=1).clamp(min=1)).sum().backward()
            optimizer.step()
            total += summed.detach()
        losses[epoch] = (total / sizes).cpu().numpy()
    return {name: value.detach() for name, value in state.items()}, losses


def _train_one(
    build: Callable[[], nn.Module],
    inputs: Tensor,
    labels: Tensor,
    members: NDArray[np.bool_],
    seed: int,
    steps: int,
    how: EnsembleSettings,
) -> tuple[dict[str, Tensor], NDArray[np.float64]]:
    """One model, as `_train_stacked` trains many: the same first weights, the same batches, the same steps."""
    with RANDOM_NUMBERS, torch_threads(), torch.random.fork_rng():
        module = _built(build, seed).to(inputs.device)
        optimizer = torch.optim.Adam(module.parameters(), lr=how.lr, weight_decay=how.weight_decay)
        draw = _Order(members, seed, steps)
        losses = np.zeros((how.epochs, 1))
        torch.manual_seed(seed)  # of dropout, if there is any
        for epoch in range(how.epochs):
            total = torch.zeros((), device=inputs.device)
            for rows in draw.epoch():
                here = torch.from_numpy(rows).to(inputs.device)
                loss = nn.functional.cross_entropy(module(inputs[here]), labels[here])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.detach() * rows.size
            losses[epoch] = float(total) / draw.n
    return {name: value.detach()[None] for name, value in module.state_dict().items()}, losses


class _Order:
    """The rows of one model in a fresh order each epoch, in `steps` parts whose sizes differ by one at most."""

    def __init__(self, members: NDArray[np.bool_], seed: int, steps: int) -> None:
        self.rows = np.flatnonzero(members)
        self.n = self.rows.size
        self.steps = steps
        self.generator = torch.Generator().manual_seed(seed)

    def epoch(self) -> list[NDArray[np.int64]]:
        order = torch.randperm(self.n, generator=self.generator).numpy()
        return np.array_split(self.rows[order], self.steps)


def _stacked_batches(draws: Sequence[_Order], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of all models, filled up to one width with row 0 at weight 0."""
    parts = [draw.epoch() for draw in draws]  # K lists of `steps` arrays
    width = max(own[0].size for own in parts)  # the first part is never the smaller one
    rows = np.zeros((len(parts[0]), len(draws), width), dtype=np.int64)
    weight = np.zeros(rows.shape, dtype=np.float32)
    for k, own in enumerate(parts):
        for step, part in enumerate(own):
            rows[step, k, : part.size] = part
            weight[step, k, : part.size] = 1.0
    yield from zip(torch.from_numpy(rows).to(device), torch.from_numpy(weight).to(device), strict=True)


def _built(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    with RANDOM_NUMBERS, torch.random.fork_rng():
        torch.manual_seed(seed)
        return build().train()


def _each(members: NDArray[np.bool_], seeds: Sequence[int]) -> Iterator[tuple[NDArray[np.bool_], int]]:
    return zip(members, seeds, strict=True)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


@contextmanager
def _cluster(jobs: int) -> Iterator[int]:
    """How many processes: `jobs`; where a Ray cluster is connected, each model is a Ray task, and 1 means all it has.

    joblib does a single process's work on the spot, and would send nothing to Ray.
    """
    ray = sys.modules.get("ray")  # a session that uses Ray has imported it; we do not start one
    if ray is None or not ray.is_initialized():
        yield jobs
        return
    from ray.util.joblib import register_ray

    register_ray()
    with joblib.parallel_config(backend="ray"):
        yield jobs if jobs > 1 else -1


def _check(inputs: Tensor, labels: Tensor, members: NDArray[np.bool_], seeds: Sequence[int]) -> None:
    n = len(inputs)
    if members.dtype != np.bool_ or members.ndim != 2 or members.shape != (len(seeds), n) or len(labels) != n:
        raise TargetError(
            f"members is {members.dtype} {members.shape}; it is boolean (models, rows) = ({len(seeds)}, {n})",
            where="ensemble",
        )
    if not len(seeds) or members.sum(axis=1).min() == 0:
        raise TargetError("a model of the ensemble has no rows to learn from", where="ensemble")
