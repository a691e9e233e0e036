"""A trained network with all that it takes to ask it: architecture, weights, preparation, classes; one file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from steelyard.audit.canonical import FrozenMap
from steelyard.audit.errors import TargetError
from steelyard.audit.types import Task
from steelyard.models.networks import language
from steelyard.models.networks.architectures import build
from steelyard.models.networks.by_length import by_length
from steelyard.models.networks.determinism import seeded, torch_threads
from steelyard.models.networks.prepare import Prepare, prepare_from
from steelyard.models.training.curves import Curves

__all__ = ["FORMAT", "Network"]

FORMAT = "steelyard network 1"
_BATCH = 512
_TEXTS = 64  # of one pass: with more, short texts go with longer ones and are padded


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """`build(architecture, **config)` with trained weights, its inputs made by `prepare`.

    `classes` are names (empty for regression, whose answer is output · spread + centre). `curves` tell how it was
    trained; they are not kept in the file.
    """

    architecture: str
    config: Mapping[str, Any]
    module: nn.Module = field(repr=False)
    prepare: Prepare = field(repr=False)
    task: Task
    classes: tuple[str, ...] = ()
    centre: float = 0.0
    spread: float = 1.0
    curves: Curves | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", FrozenMap(self.config))

    @property
    def classes_(self) -> NDArray[Any]:
        """(classes,) names, for what expects an estimator."""
        if not self.classes:
            raise AttributeError("classes_")
        return np.asarray(self.classes)

    @property
    def n_features_in_(self) -> int:
        """How many columns it takes, where it takes a table."""
        count: int = self.prepare.count  # type: ignore[attr-defined]  # AttributeError is meant
        return count

    @property
    def feature_names_in_(self) -> NDArray[Any]:
        """The names of its columns, where it was trained on a data frame."""
        names = self.prepare.columns  # type: ignore[attr-defined]  # AttributeError is meant
        if not names:
            raise AttributeError("feature_names_in_")
        return np.asarray(names, dtype=object)

    def predict(self, inputs: Any) -> NDArray[Any]:
        """(n,) class names, or numbers of a regression."""
        out = self.logits(inputs)
        if self.task is Task.REGRESSION:
            return out[:, 0] * self.spread + self.centre
        decided: NDArray[Any] = self.classes_[out.argmax(axis=1)]
        return decided

    def predict_proba(self, inputs: Any) -> NDArray[np.float64]:
        """(n, classes) the softmax of the logits."""
        out = self.logits(inputs)
        raised = np.exp(out - out.max(axis=1, keepdims=True))
        shares: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
        return shares

    def score(self, inputs: Any, answers: Any) -> float:
        """The share of right class names, or R² = 1 − Σ(y − f)² / Σ(y − mean)² of a regression."""
        given = np.asarray(answers)
        if self.task is Task.REGRESSION:
            return float(1.0 - ((given - self.predict(inputs)) ** 2).sum() / ((given - given.mean()) ** 2).sum())
        return float((self.predict(inputs) == given).mean())

    def logits(self, inputs: Any) -> NDArray[np.float64]:
        """(n, classes) before the softmax; (n, 1) of a regression."""
        return self._run(self.prepare(inputs), self.module)

    def embed(self, inputs: Any) -> NDArray[np.float64]:
        """(n, d) what the last layer sees; of a language model the mean over a text's tokens."""

        def features(ready: Tensor) -> Tensor:
            found: Tensor = self.module.features(ready)
            if found.ndim == 2:
                return found
            there = (ready != self.config["pad"])[..., None].to(found.dtype)  # (n, length, 1)
            return (found * there).sum(1) / there.sum(1).clamp(min=1.0)

        return self._run(self.prepare(inputs), features)

    def gradients(self, inputs: Any, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """The gradient of each row's cross-entropy at `labels` (n,), class codes, in the shape of the inputs.

        Raises TargetError where the inputs are not numbers.
        """
        if not self.differentiable:
            raise TargetError("gradients need inputs that are numbers alone")
        found: list[NDArray[np.float64]] = []
        device = self._device()
        with torch_threads():
            for part, codes in zip(
                self.prepare(inputs).split(_BATCH), torch.as_tensor(np.asarray(labels)).split(_BATCH), strict=True
            ):
                x = part.to(device).requires_grad_(True)
                loss = nn.functional.cross_entropy(self.module(x), codes.to(device), reduction="sum")
                (gradient,) = torch.autograd.grad(loss, x)
                found.append(gradient.cpu().numpy().astype(np.float64))
        pulled: NDArray[np.float64] = self.prepare.pull(np.concatenate(found))  # type: ignore[attr-defined]
        return pulled

    def tokenize(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """The token ids of each text, of a language model; see `language.tokenize`."""
        return language.tokenize(self, texts)

    def loglikelihood(self, texts: Sequence[str], prefixes: Sequence[str] | None = None) -> list[NDArray[np.float64]]:
        """The log-probability of each token of each text; see `language.loglikelihood`."""
        return language.loglikelihood(self, texts, prefixes)

    def generate(
        self, prompts: Sequence[str], *, max_tokens: int = 32, temperature: float = 0.0, seed: int = 0
    ) -> list[str]:
        """What follows each prompt; see `language.generate`."""
        return language.generate(self, prompts, max_tokens=max_tokens, temperature=temperature, seed=seed)

    def perplexity(self, texts: Sequence[str]) -> float:
        """exp of the mean of −log p per token; see `language.perplexity`."""
        return language.perplexity(self, texts)

    @property
    def differentiable(self) -> bool:
        """Whether `gradients` has an answer."""
        return bool(getattr(self.prepare, "differentiable", False)) and bool(self.classes)

    def _device(self) -> torch.device:
        return next(self.module.parameters()).device

    def _run(self, ready: Tensor, ask: Any) -> NDArray[np.float64]:
        self.module.eval()
        device = self._device()
        pad = getattr(self.prepare, "pad", None)

        def told(part: Tensor) -> Tensor:
            answer: Tensor = ask(part.to(device)).float().cpu()
            return answer

        with torch_threads(), torch.inference_mode():
            if pad is None or not len(ready):
                found = torch.cat([told(part) for part in ready.split(_BATCH)])
            else:
                found = by_length(ready, told, pad=pad, batch=_TEXTS)
        answers: NDArray[np.float64] = found.numpy().astype(np.float64)
        return answers

    def to_bytes(self) -> bytes:
        """One safetensors file: the weights, and in its metadata the rest as JSON. Equal networks give equal bytes."""
        from safetensors.torch import save

        plain = {
            "format": FORMAT,
            "architecture": self.architecture,
            "config": dict(self.config),
            "prepare": self.prepare.state(),
            "task": self.task.value,
            "classes": list(self.classes),
            "centre": self.centre,
            "spread": self.spread,
        }
        tensors = {name: value.detach().cpu().contiguous().clone() for name, value in self.module.state_dict().items()}
        data: bytes = save(tensors, metadata={"network": json.dumps(plain, sort_keys=True)})
        return data

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str = "the network") -> Network:
        """The network that `to_bytes` wrote. Raises TargetError for any other bytes."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            size = int.from_bytes(data[:8], "little")
            plain = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["network"])
            tensors = load(data)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise TargetError("holds no network of Steelyard's", where=where) from error
        if plain.get("format") != FORMAT:
            raise TargetError(f"is written in the format {plain.get('format')!r}, not {FORMAT!r}", where=where)
        with seeded(0, "weights that are replaced"):
            module = build(plain["architecture"], **plain["config"])
        try:
            module.load_state_dict(tensors)
        except RuntimeError as error:
            text = " ".join(str(error).split())[:200]
            raise TargetError(f"its weights do not fit its architecture: {text}", where=where) from error
        return cls(
            architecture=plain["architecture"],
            config=plain["config"],
            module=module.eval(),
            prepare=prepare_from(plain["prepare"]),
            task=Task(plain["task"]),
            classes=tuple(plain["classes"]),
            centre=plain["centre"],
            spread=plain["spread"],
        )
