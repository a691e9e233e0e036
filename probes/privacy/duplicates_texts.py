"""Which of some texts nearly repeat one of others: shingles, found by MinHash, settled by exact overlap."""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["near_texts", "shingles"]

WIDTH = 3  # words in a shingle
BANDS, ROWS = 20, 4  # 80 hashes: a pair of overlap .8 is found with probability 1 - (1 - .8^4)^20 > .9999
PRIME = (1 << 31) - 1
_WORD = re.compile(r"\w+")


def shingles(text: str) -> frozenset[int]:
    """The runs of three words of a text, as 31-bit hashes; case and punctuation play no part.

    A text of fewer words is one shingle, an empty one has none.
    """
    words = _WORD.findall(text.casefold())
    runs = [" ".join(words[i : i + WIDTH]) for i in range(max(len(words) - WIDTH + 1, 1))] if words else []
    return frozenset(zlib.crc32(run.encode()) % PRIME for run in runs)


def near_texts(train: Sequence[str], test: Sequence[str], overlap: float) -> NDArray[np.bool_]:
    """(n test,) whether a text shares at least `overlap` of its shingles with a training text.

    Jaccard |A ∩ B| / |A ∪ B|, computed exactly for the pairs that MinHash proposes. Broder 1997,
    DOI 10.1109/SEQUEN.1997.666900.
    """
    import numpy as np

    known, asked = [shingles(text) for text in train], [shingles(text) for text in test]
    buckets: list[defaultdict[bytes, list[int]]] = [defaultdict(list) for _ in range(BANDS)]
    for i, signature in enumerate(_signatures(known)):
        if known[i]:
            for band, bucket in enumerate(buckets):
                bucket[signature[band].tobytes()].append(i)
    found = np.zeros(len(test), dtype=np.bool_)
    for i, signature in enumerate(_signatures(asked)):
        if asked[i]:
            candidates = {j for band, bucket in enumerate(buckets) for j in bucket.get(signature[band].tobytes(), ())}
            found[i] = any(len(asked[i] & known[j]) >= overlap * len(asked[i] | known[j]) for j in candidates)
    return found


def _signatures(sets: Sequence[frozenset[int]]) -> NDArray[np.int64]:
    """(texts, bands, rows) least values of 80 fixed linear hashes over each set; 0 for an empty one."""
    import numpy as np

    rng = np.random.default_rng(20)  # fixed: the hash functions are part of the method
    a, b = rng.integers(1, PRIME, BANDS * ROWS), rng.integers(0, PRIME, BANDS * ROWS)
    out = np.zeros((len(sets), BANDS * ROWS), dtype=np.int64)
    for i, items in enumerate(sets):
        if items:
            values = np.fromiter(items, dtype=np.int64, count=len(items))
            out[i] = ((values[:, None] * a + b) % PRIME).min(axis=0)  # below 2^62: no overflow
    return out.reshape(len(sets), BANDS, ROWS)
