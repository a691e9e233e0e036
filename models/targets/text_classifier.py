"""A text classifier of transformers: logits and the input of its last linear layer, in batches of like lengths."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from steelyard.audit.errors import TargetError
from steelyard.audit.target import Sample
from steelyard.audit.types import Capability, Task
from steelyard.models.networks.determinism import torch_threads
from steelyard.models.targets.network import NetworkAdapter, network_target
from steelyard.models.targets.options import Meaning, NetworkOptions
from steelyard.models.targets.tokens import batches_by_length, padded, texts_of, token_ids
from steelyard.models.targets.transformers import Pretrained

__all__ = ["TextEngine", "classifier_target"]

_CELLS = 1 << 15  # tokens at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEngine:
    """A sequence classifier with its tokenizer. A text longer than the model's context is cut at its end."""

    loaded: Pretrained
    batch: int
    pad: int | None
    linear: nn.Module | None
    what: frozenset[Capability]

    def outputs(self, inputs: Any) -> NDArray[np.float64]:
        """(n, labels) logits."""
        return self._asked(inputs, embed=False)

    def embed(self, inputs: Any) -> NDArray[np.float64]:
        """(n, d) what the last linear layer sees; where it sees every token, at the last one."""
        return self._asked(inputs, embed=True)

    def gradients(self, inputs: Any, columns: NDArray[np.int64], meaning: Meaning) -> NDArray[np.float64]:
        """Never claimed: texts have no gradient, and that of their embeddings is another thing."""
        raise TargetError("gives no gradients with respect to texts", where=self.loaded.name)

    def _asked(self, inputs: Any, *, embed: bool) -> NDArray[np.float64]:
        loaded = self.loaded
        texts = texts_of(inputs, loaded.name)
        ids = token_ids(loaded.tokenizer, texts, special=True, most=loaded.context)
        rows = self.batch if self.pad is not None else 1
        answers: dict[int, NDArray[np.float64]] = {}
        with torch_threads(), torch.inference_mode():
            for places in batches_by_length([len(one) for one in ids], rows=rows, cells=_CELLS):
                table, mask = padded([ids[place] for place in places], self.pad or 0, loaded.device)
                found = self._pass(table, mask, embed=embed).double().cpu().numpy()
                answers.update(zip(places, found, strict=True))
        return np.stack([answers[place] for place in range(len(ids))]) if ids else np.empty((0, 1))

    def _pass(self, table: Tensor, mask: Tensor, *, embed: bool) -> Tensor:
        if not embed:
            logits: Tensor = self.loaded.model(input_ids=table, attention_mask=mask).logits
            return logits
        assert self.linear is not None  # noqa: S101 (the capability is not claimed)
        seen: list[Tensor] = []
        hook = self.linear.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            self.loaded.model(input_ids=table, attention_mask=mask)
        finally:
            hook.remove()
        found = seen[-1]
        if found.ndim == 3:  # (b, tokens, d): a decoder whose classes are read at the last token
            found = found[torch.arange(len(found)), mask.sum(dim=1) - 1]
        return found


def classifier_target(
    loaded: Pretrained, sample: Sample, options: NetworkOptions, *, threshold: float | None
) -> NetworkAdapter:
    """The classifier as a target for `sample`, its labels mapped to the classes by their names (`id2label`).

    Labels that are called LABEL_0, LABEL_1 … have no names: they are read in the order of the classes. Raises
    TargetError for a model with several labels at once, and where number or names do not fit.
    """
    config, name = loaded.model.config, loaded.name
    if config.problem_type == "multi_label_classification":
        raise TargetError("gives several labels at once", where=name, hint="audit one of them at a time")
    pad = loaded.tokenizer.pad_token_id
    config.get_text_config().pad_token_id = config.pad_token_id = pad
    texts = texts_of(sample.inputs, name)
    said = [loaded.said]
    cut = sum(len(ids) > loaded.context for ids in token_ids(loaded.tokenizer, texts, special=True))
    if cut:
        said.append(f"{cut:,} of {len(texts):,} texts are longer than {loaded.context} tokens, and are cut")
    engine = TextEngine(loaded=loaded, batch=options.batch, pad=pad, linear=None, what=frozenset())
    linear = _last_linear(engine, texts[:1])
    engine = TextEngine(
        loaded=loaded,
        batch=options.batch,
        pad=pad,
        linear=linear,
        what=frozenset() if linear is None else frozenset({Capability.EMBED}),
    )
    return network_target(
        engine,
        sample,
        name=name,
        kind="transformers",
        fingerprint=loaded.fingerprint,
        options=options,
        said=said,
        own_classes=_names(config, sample),
        threshold=threshold,
    )


def _names(config: Any, sample: Sample) -> list[str] | None:
    names = [str(config.id2label[place]) for place in range(config.num_labels)]
    if len(names) == 1 or sample.task is Task.REGRESSION or all(re.fullmatch(r"LABEL_\d+", name) for name in names):
        return None
    return names


def _last_linear(engine: TextEngine, texts: list[str]) -> nn.Module | None:
    called: list[nn.Module] = []
    parts = [part for part in engine.loaded.model.modules() if isinstance(part, nn.Linear)]
    hooks = [part.register_forward_pre_hook(lambda part, _: called.append(part)) for part in parts]
    try:
        engine.outputs(texts)
    finally:
        for hook in hooks:
            hook.remove()
    return called[-1] if called else None
