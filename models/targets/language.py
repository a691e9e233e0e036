"""A language model of transformers as a target: log-probabilities of tokens, generation, embeddings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from steelyard.audit.canonical import generator
from steelyard.audit.errors import NotApplicable, TargetError
from steelyard.audit.types import Capability, Task
from steelyard.models.networks.determinism import torch_threads
from steelyard.models.targets.options import NetworkOptions
from steelyard.models.targets.tokens import Around, around, batches_by_length, padded, texts_of, token_ids
from steelyard.models.targets.transformers import Pretrained
from steelyard.models.targets.windows import Window, causal_windows, masked_windows

__all__ = ["PretrainedLanguage", "language_target"]

_NUMBERS = 1 << 26  # of the output at a time: 256 MB of logits


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedLanguage:
    """A causal or a masked language model. It decides nothing: `predict` raises NotApplicable.

    A text longer than `window` tokens is read in windows: a causal model slides by `stride`, so that each token is
    scored once, with at least window - stride tokens before it; a masked model gets the window around the masked token.
    """

    loaded: Pretrained
    name: str
    scoring: Literal["causal", "masked"]
    capabilities: frozenset[Capability]
    fingerprint: str
    description: str
    window: int
    stride: int
    batch: int
    frame: Around
    kind: str = "transformers"
    task: Task = field(default=Task.LANGUAGE)

    def predict(self, inputs: Any) -> NDArray[Any]:
        """Raises NotApplicable."""
        raise NotApplicable(f"{self.name} is a language model and decides nothing")

    def predict_proba(self, inputs: Any) -> NDArray[np.float64]:
        """Raises NotApplicable."""
        raise NotApplicable(f"{self.name} is a language model and decides nothing")

    def tokenize(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """The token ids of each text, without special tokens."""
        return [tuple(ids) for ids in token_ids(self.loaded.tokenizer, list(texts))]

    def loglikelihood(self, texts: Sequence[str], prefixes: Sequence[str] | None = None) -> list[NDArray[np.float64]]:
        """For each text the natural log-probability of each of its tokens (tokens,), as `tokenize` cuts them.

        A prefix is given to the model, not scored, and cut into tokens by itself: begin the text with a blank where
        there is one. Causal: log p(token | prefix and the tokens before); masked: log p(token | prefix and all others),
        one masked at a time (Salazar et al. 2020, arXiv:1910.14659).
        """
        if prefixes is not None and len(prefixes) != len(texts):
            raise TargetError(f"{len(prefixes)} prefixes for {len(texts)} texts", where=self.name)
        bodies = self.tokenize(texts)
        before = self.tokenize(prefixes) if prefixes is not None else [()] * len(bodies)
        found = [np.full(len(ids), np.nan) for ids in bodies]
        jobs = list(self._windows(before, bodies))
        width = int(self.loaded.model.config.get_text_config().vocab_size)
        with torch_threads(), torch.inference_mode():
            for places in batches_by_length(
                [len(job) for job in jobs], rows=self.batch, cells=max(1, _NUMBERS // width)
            ):
                part = [jobs[place] for place in places]
                for job, scores in zip(part, self._scores([job.ids() for job in part], part), strict=True):
                    found[job.text][job.first : job.first + len(scores)] = scores
        return found

    def generate(
        self, prompts: Sequence[str], *, max_tokens: int = 32, temperature: float = 0.0, seed: int = 0
    ) -> list[str]:
        """What follows each prompt. Temperature 0 takes the likeliest token, else tokens are drawn from softmax(z / t).

        What is drawn depends on the seed, the prompt and how often it came before, not on the order of other prompts. A
        prompt that leaves no room for `max_tokens` loses its first tokens.
        """
        if Capability.GENERATE not in self.capabilities:
            raise NotApplicable(f"{self.name} is a {self.scoring} model, and does not write")
        from steelyard.models.targets.writing import write

        if max_tokens < 1 or temperature < 0.0:
            raise TargetError("max_tokens is at least 1 and temperature at least 0", where=self.name)
        room = max(1, self.loaded.context - max_tokens)
        ids = [([*self.frame.left, *tokens] or self._start())[-room:] for tokens in self.tokenize(prompts)]
        times: Counter[str] = Counter()
        streams = []
        for prompt in prompts:
            times[prompt] += 1
            streams.append(generator(seed, f"generate:{times[prompt]}:{prompt}"))
        return write(self.loaded, ids, streams, max_tokens=max_tokens, temperature=temperature, batch=self.batch)

    def embed(self, inputs: Any) -> NDArray[np.float64]:
        """(n, d) the mean of the last hidden states over a text's tokens; what lies beyond the context is cut."""
        loaded = self.loaded
        texts = texts_of(inputs, self.name)
        ids = [one or self._start() for one in token_ids(loaded.tokenizer, texts, special=True, most=loaded.context)]
        answers: dict[int, NDArray[np.float64]] = {}
        with torch_threads(), torch.inference_mode():
            for places in batches_by_length([len(one) for one in ids], rows=self.batch, cells=1 << 15):
                table, mask = padded([ids[place] for place in places], self._pad, loaded.device)
                hidden = loaded.model.base_model(input_ids=table, attention_mask=mask).last_hidden_state.double()
                weight = mask[:, :, None].double()
                means = (hidden * weight).sum(dim=1) / weight.sum(dim=1)
                answers.update(zip(places, means.cpu().numpy(), strict=True))
        return np.stack([answers[place] for place in range(len(ids))]) if ids else np.empty((0, 1))

    @property
    def _pad(self) -> int:
        found = self.loaded.tokenizer.pad_token_id
        return 0 if found is None else int(found)  # what stands under the mask is not read

    def _start(self) -> list[int]:
        if self.frame.start is None:
            raise TargetError("an empty text has no tokens, and the model no start token", where=self.name)
        return [self.frame.start]

    def _windows(self, before: Sequence[tuple[int, ...]], bodies: Sequence[tuple[int, ...]]) -> Iterator[Window]:
        for text, (prefix, body) in enumerate(zip(before, bodies, strict=True)):
            if self.scoring == "masked":
                mask = int(self.loaded.tokenizer.mask_token_id)
                yield from masked_windows(text, prefix, body, frame=self.frame, mask=mask, window=self.window)
            else:
                yield from causal_windows(text, prefix, body, frame=self.frame, window=self.window, stride=self.stride)

    def _scores(self, ids: list[list[int]], jobs: Sequence[Window]) -> list[NDArray[np.float64]]:
        table, mask = padded(ids, self._pad, self.loaded.device)
        logits: Tensor = self.loaded.model(input_ids=table, attention_mask=mask).logits  # (b, tokens, vocabulary)
        found = []
        for row, job in enumerate(jobs):
            z = logits[row, job.at : job.at + len(job.wanted)].float()
            true = torch.tensor(job.wanted, device=z.device)
            scores = z.gather(1, true[:, None])[:, 0] - z.logsumexp(dim=1)
            found.append(scores.double().cpu().numpy())
        return found


def language_target(loaded: Pretrained, options: NetworkOptions) -> PretrainedLanguage:
    """The language model as a target. Raises TargetError for a masked model whose tokenizer has no mask."""
    scoring: Literal["causal", "masked"] = "causal" if loaded.head == "causal" else "masked"
    if scoring == "masked" and loaded.tokenizer.mask_token_id is None:
        raise TargetError("its tokenizer has no mask token", where=loaded.name, hint="set target.head: causal?")
    frame = around(loaded.tokenizer, loaded.name)
    least = len(frame.left) + len(frame.right) + 2
    window = min(options.window or loaded.context, loaded.context)
    if window < least:
        raise TargetError(f"a window of {window} tokens is too short", where=loaded.name, hint=f"at least {least}")
    stride = min(options.stride or max(1, window // 2), window - 1)
    said = [loaded.said, f"longer texts are read in windows of {window} tokens"]
    said[-1] += f" that move by {stride}" if scoring == "causal" else " around each masked token"
    able = {Capability.QUERY, Capability.LOGLIKELIHOOD, Capability.EMBED}
    return PretrainedLanguage(
        loaded=loaded,
        name=loaded.name,
        scoring=scoring,
        capabilities=frozenset(able | ({Capability.GENERATE} if scoring == "causal" else set())),
        fingerprint=loaded.fingerprint,
        description="; ".join(said),
        window=window,
        stride=stride,
        batch=options.batch,
        frame=frame,
    )
