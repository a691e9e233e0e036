"""An encoder of the transformers library with a new head: what fine-tuning trains."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from steelyard.audit.errors import TargetError
from steelyard.models.networks.vocabulary import as_texts, padded

__all__ = ["Pretrained", "TokenizerPrepare", "load_encoder"]

_COMMIT = re.compile(r"[0-9a-f]{40}")


class Pretrained(nn.Module):
    """The `body` (rebuilt from its own configuration, `body` here as plain values), the mean over tokens, and a head.

    The mean over the tokens that are there, as sentence encoders are trained with (Reimers, Gurevych 2019,
    arXiv:1908.10084), or with `pool` first the first token's state.
    """

    def __init__(
        self, *, body: dict[str, Any], classes: int, pad: int, pool: str = "mean", dropout: float = 0.1
    ) -> None:
        from transformers import AutoConfig, AutoModel

        super().__init__()
        if pool not in {"mean", "first"}:
            raise ValueError(f"pool is {pool!r}; it is mean or first")
        config = AutoConfig.for_model(**body)
        self.body = AutoModel.from_config(config, trust_remote_code=False)
        self.pad, self.pool = pad, pool
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(config.hidden_size, classes)

    def embed_tokens(self, ids: Tensor) -> Tensor:
        """(n, length, width) the tokens' embeddings, without their places."""
        embedded: Tensor = self.body.get_input_embeddings()(ids)
        return embedded

    def features(self, inputs: Tensor, embedded: Tensor | None = None) -> Tensor:
        """(n, d) what the head sees."""
        there = (inputs != self.pad).long()
        there[:, 0] = 1
        given = {"input_ids": inputs} if embedded is None else {"inputs_embeds": embedded}
        hidden = self.body(**given, attention_mask=there).last_hidden_state  # (n, length, d)
        if self.pool == "first":
            first: Tensor = hidden[:, 0]
            return first
        counted = there[..., None].to(hidden.dtype)
        mean: Tensor = (hidden * counted).sum(1) / counted.sum(1)
        return mean

    def forward(self, inputs: Tensor, embedded: Tensor | None = None) -> Tensor:
        """(n, classes) logits."""
        logits: Tensor = self.head(self.dropout(self.features(inputs, embedded)))
        return logits


@dataclass(frozen=True, kw_only=True)
class TokenizerPrepare:
    """Texts to ids by the model's own tokenizer, kept as the text of its tokenizer.json; at most `length` of them."""

    tokenizer: str
    length: int
    pad: int

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        found = Tokenizer.from_str(self.tokenizer)
        found.no_padding()
        found.enable_truncation(self.length)
        return found

    @property
    def unknown(self) -> int:
        """The id of what is not known, else of a mask, else of padding."""
        found = (self._tokenizer.token_to_id(token) for token in ("[UNK]", "<unk>", "[MASK]", "<mask>"))
        return next((int(code) for code in found if code is not None), self.pad)

    def __call__(self, inputs: Any) -> Tensor:
        """(n, longest) int64, special tokens included."""
        return padded([encoding.ids for encoding in self._tokenizer.encode_batch(as_texts(inputs))], pad=self.pad)

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {"kind": "tokenizer", "tokenizer": self.tokenizer, "length": self.length, "pad": self.pad}


def load_encoder(
    base: str, revision: str, *, classes: int, length: int, pool: str, dropout: float
) -> tuple[Pretrained, dict[str, Any], TokenizerPrepare]:
    """The network with the weights of `base` and a new head, its configuration, and its tokenizer.

    `base` is a local folder, or a hub id with the `revision` (40 hexadecimal digits). Weights are read from safetensors
    alone, and no code that comes with them is run. Raises TargetError, UnsafeArtifact for pickles.
    """
    import transformers

    # The checks of a target: a base is looked at like one, and refused with the same line.
    from steelyard.models.targets.transformers import check_files, hub_files, reason_of

    local = Path(base).expanduser().is_dir()
    if not local and not _COMMIT.fullmatch(revision):
        raise TargetError(
            f"base {base!r} is no folder, and for a hub id revision is {revision!r}",
            where="network/fine-tune",
            hint="name a local folder, or pin the hub's model to a commit of 40 hexadecimal digits",
        )
    source = str(Path(base).expanduser()) if local else base
    check_files([entry.name for entry in Path(source).iterdir()] if local else hub_files(base, revision), base)
    given: dict[str, Any] = {"trust_remote_code": False, "local_files_only": local}
    given |= {} if local else {"revision": revision}
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        config = transformers.AutoConfig.from_pretrained(source, **given)
        body = transformers.AutoModel.from_pretrained(source, use_safetensors=True, **given)
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, **given)
    except Exception as error:
        raise TargetError(f"cannot be loaded: {reason_of(error)}", where=base, hint="is it whole?") from error
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None or tokenizer.pad_token_id is None:
        raise TargetError("has no tokenizer.json with a padding token", where=base, hint="choose another encoder")
    if len(tokenizer) > body.get_input_embeddings().num_embeddings:
        raise TargetError(
            f"its tokenizer has {len(tokenizer):,} tokens, its weights"
            f" {body.get_input_embeddings().num_embeddings:,} embeddings: they belong to different models",
            where=base,
        )
    plain = json.loads(json.dumps(config.to_dict(), default=str))
    most = getattr(config, "max_position_embeddings", length)
    settings = {"body": plain, "classes": classes, "pad": int(tokenizer.pad_token_id), "pool": pool, "dropout": dropout}
    module = Pretrained(**settings)
    module.body.load_state_dict(body.state_dict())
    prepare = TokenizerPrepare(tokenizer=fast.to_str(), length=min(length, most), pad=int(tokenizer.pad_token_id))
    return module, settings, prepare
