"""Small Transformers over token ids (n, length): an encoder that classifies, and a causal language model.

Vaswani et al. 2017, arXiv:1706.03762, with the normalisation before each part (Xiong et al. 2020, arXiv:2002.04745).
`pad` is the id that fills short rows; nothing attends to it. Both take `embedded` (n, length, width) in the place of
the ids' own embeddings, for attacks and attributions in that space.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Causal", "Encoder"]


class _Block(nn.Module):
    """Attention and a feed-forward part of four times the width, each added to what goes by."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(n, length, width); `mask` (n, 1, 1, length) is True where a token may be looked at, None means causal."""
        n, length, width = x.shape
        parts = self.mix(self.norm1(x)).view(n, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # each (n, heads, length, width / heads)
        seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        x = x + self.dropout(self.out(seen.transpose(1, 2).reshape(n, length, width)))
        through: Tensor = self.narrow(functional.gelu(self.wide(self.norm2(x))))
        return x + self.dropout(through)


class _Transformer(nn.Module):
    """Embeddings of tokens and places, and the blocks."""

    def __init__(
        self, *, vocabulary: int, length: int, width: int, layers: int, heads: int, dropout: float, pad: int
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.pad, self.length = pad, length
        self.tokens = nn.Embedding(vocabulary, width, padding_idx=pad)
        self.places = nn.Embedding(length, width)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.places.weight, std=0.02)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def embed_tokens(self, ids: Tensor) -> Tensor:
        """(n, length, width) the tokens' embeddings, without their places."""
        embedded: Tensor = self.tokens(ids)
        return embedded

    def _hidden(self, ids: Tensor, embedded: Tensor | None, mask: Tensor | None) -> Tensor:
        if ids.shape[1] > self.length:
            raise ValueError(f"{ids.shape[1]} tokens are more than the {self.length} there are places for")
        embedded = self.embed_tokens(ids) if embedded is None else embedded
        x = self.dropout(embedded + self.places.weight[: ids.shape[1]])
        for block in self.blocks:
            x = block(x, mask)
        hidden: Tensor = self.norm(x)
        return hidden


class Encoder(_Transformer):
    """Every token looks at all others; the mean over the tokens is classified."""

    def __init__(
        self,
        *,
        vocabulary: int,
        classes: int,
        length: int = 64,
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        pad: int = 0,
    ) -> None:
        super().__init__(
            vocabulary=vocabulary, length=length, width=width, layers=layers, heads=heads, dropout=dropout, pad=pad
        )
        self.head = nn.Linear(width, classes)

    def features(self, inputs: Tensor, embedded: Tensor | None = None) -> Tensor:
        """(n, width) the mean over the tokens that are there; a row without any is all zeros."""
        there = inputs != self.pad  # (n, length)
        # a row of nothing but padding would attend to nothing, which is NaN: it may look at its first place
        open_ = there.clone()
        open_[:, 0] = True
        hidden = self._hidden(inputs, embedded, open_[:, None, None, :])
        counted = there[..., None].to(hidden.dtype)
        mean: Tensor = (hidden * counted).sum(1) / counted.sum(1).clamp(min=1.0)
        return self.dropout(mean)

    def forward(self, inputs: Tensor, embedded: Tensor | None = None) -> Tensor:
        """(n, classes) logits."""
        logits: Tensor = self.head(self.features(inputs, embedded))
        return logits


class Causal(_Transformer):
    """Every token looks at those before it; the head, which shares the embeddings' weights, gives the next one."""

    def __init__(
        self,
        *,
        vocabulary: int,
        length: int = 64,
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        pad: int = 0,
    ) -> None:
        super().__init__(
            vocabulary=vocabulary, length=length, width=width, layers=layers, heads=heads, dropout=dropout, pad=pad
        )
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def features(self, inputs: Tensor, embedded: Tensor | None = None) -> Tensor:
        """(n, length, width) the last hidden state of each token. Padding comes last, so that no token sees it."""
        return self._hidden(inputs, embedded, None)

    def forward(self, inputs: Tensor, embedded: Tensor | None = None) -> Tensor:
        """(n, length, vocabulary): at each place the logits of the token after it."""
        return functional.linear(self.features(inputs, embedded), self.tokens.weight, self.bias)
