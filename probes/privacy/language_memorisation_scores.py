"""What the log-probabilities of a text say of its having been trained on, and what its words alone say."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import NotApplicable, ProbeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.audit.target import LanguageTarget, Sample

__all__ = ["blind_scores", "lowest", "membership_scores", "ranks", "secret_of", "standardised", "texts_of", "unlike"]

_SECRET = re.compile(r"\{([^{}]+)\}")
_ALPHABETS = ("0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def lowest(scores: NDArray[np.float64], share: float) -> float:
    """The mean of the lowest `share` of the scores, of one at least; missing ones are left out. NaN where none is left.

    On log-probabilities: Min-K% (Shi et al. 2024, arXiv:2310.16789); on standardised ones: Min-K%++.
    """
    import numpy as np

    known = np.sort(scores[np.isfinite(scores)])
    return float(known[: max(1, int(share * len(known)))].mean()) if len(known) else float("nan")


def membership_scores(target: Any, texts: Sequence[str], share: float) -> dict[str, NDArray[np.float64]]:
    """By attack (texts,): the higher, the more a text looks trained on.

    loss: mean log p; zlib: sum of log p over the bytes of the compressed text (Carlini et al. 2021, arXiv:2012.07805);
    min-k; and min-k-plus-plus where the model shows whole distributions. ProbeError where a text has no score.
    """
    import numpy as np

    tokens = target.loglikelihood(list(texts))
    zipped = np.array([len(zlib.compress(text.encode())) for text in texts], dtype=np.float64)
    found = {
        "loss": np.array([lowest(scores, 1.0) for scores in tokens]),
        "zlib": np.array([float(np.nansum(scores)) for scores in tokens]) / zipped,
        "min-k": np.array([lowest(scores, share) for scores in tokens]),
    }
    whole = standardised(target, texts)
    if whole is not None:
        found["min-k-plus-plus"] = np.array([lowest(scores, share) for scores in whole])
    bad = int((~np.isfinite(np.stack(list(found.values())))).any(axis=0).sum())
    if bad:
        raise ProbeError(f"the model gives no log-probability for {bad} of {len(texts)} texts", hint="drop empty texts")
    return found


def standardised(target: Any, texts: Sequence[str]) -> list[NDArray[np.float64]] | None:
    """For each text (tokens,) (log p(token) − μ) / σ, with μ and σ the mean and standard deviation of log p under p
    itself at that place: Zhang et al. 2024, arXiv:2404.02936. None where the model shows no whole distribution.

    A target may bring `standardised_loglikelihood(texts)`; causal networks of torch and transformers are opened here.
    """
    for inner in [target, *([target.model] if getattr(target, "model", None) is not None else [])]:
        own = getattr(inner, "standardised_loglikelihood", None)
        if callable(own):
            return list(own(list(texts)))
        if getattr(inner, "scoring", "") != "causal":
            continue
        if hasattr(inner, "loaded"):
            from steelyard.probes.privacy.language_memorisation_torch import pretrained_scores

            return pretrained_scores(inner, texts)
        if hasattr(getattr(inner, "model", None), "prepare"):
            from steelyard.probes.privacy.language_memorisation_torch import network_scores

            return network_scores(inner.model, texts)
    return None


def blind_scores(
    texts: Sequence[str], member: NDArray[np.bool_], taught: NDArray[np.bool_], seed: int
) -> NDArray[np.float64]:
    """(texts not taught,) how much a text looks like a member by its words alone, learnt on the `taught` texts.

    Logistic regression on TF-IDF weights of words and pairs of words, and the length. No model is asked: what this
    tells apart differs by date, source or topic, not by memory. Das et al. 2024, arXiv:2406.16201.
    """
    import numpy as np
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(sublinear_tf=True, analyzer=_words, max_features=20_000)
    table = words.fit_transform([texts[i] for i in np.flatnonzero(taught).tolist()])
    rest = words.transform([texts[i] for i in np.flatnonzero(~taught).tolist()])
    length = np.log1p(np.array([len(text) for text in texts], dtype=np.float64))
    scaled = (length - length[taught].mean()) / max(float(length[taught].std()), 1e-9)
    model = LogisticRegression(C=10.0, max_iter=1000, random_state=seed)
    model.fit(hstack([table, csr_matrix(scaled[taught][:, None])]).tocsr(), member[taught])
    return np.asarray(model.decision_function(hstack([rest, csr_matrix(scaled[~taught][:, None])]).tocsr()))


def _words(text: str) -> list[str]:
    """Words and pairs of words, in lower case."""
    single = text.lower().split()
    return [*single, *(" ".join(pair) for pair in pairwise(single))]


def texts_of(sample: Sample) -> list[str]:
    """The texts of a sample: its one column of words. NotApplicable where there is none, or more than one."""
    from steelyard.probes.privacy.pii import text_cells

    cells = text_cells(sample)
    if len(cells) != 1:
        raise NotApplicable(f"it reads one column of texts, and {len(cells)} of the inputs are words")
    return next(iter(cells.values())).fillna("").astype(str).tolist()


def secret_of(canary: str) -> tuple[str, str]:
    """The text as it was trained on, and its secret: what stands in {braces}. ProbeError without one pair."""
    found = _SECRET.findall(canary)
    if len(found) != 1:
        raise ProbeError("a canary has one secret in braces", hint="for example: the code of the safe is {482917}")
    return canary.replace("{" + found[0] + "}", found[0]), found[0]


def unlike(canary: str, wanted: int, rng: Generator) -> list[str]:
    """At most `wanted` texts with other secrets of the same form: digits for digits, letters for letters, none twice.

    ProbeError where the form allows fewer than 20.
    """
    _, secret = secret_of(canary)
    sizes = [next((len(a) for a in _ALPHABETS if sign in a), 1) for sign in secret]
    space = 1
    for size in sizes:
        space *= size
    if space < 20:
        raise ProbeError(f"the form of a canary's secret allows {space} values", hint="a longer secret")
    drawn: dict[str, None] = {}
    for _ in range(20 * wanted):
        if len(drawn) >= min(wanted, space - 1):
            break
        other = "".join(_another(sign, rng) for sign in secret)
        if other != secret:
            drawn[other] = None
    return [canary.replace("{" + secret + "}", other) for other in drawn]


def _another(sign: str, rng: Generator) -> str:
    for alphabet in _ALPHABETS:
        if sign in alphabet:
            return alphabet[int(rng.integers(len(alphabet)))]
    return sign


def ranks(target: LanguageTarget | Any, canary: str, others: Sequence[str]) -> int:
    """How many of the `others` the model finds at least as likely as the canary, by the sum of log p."""
    import numpy as np

    text, _ = secret_of(canary)
    sums = np.array([float(np.nansum(scores)) for scores in target.loglikelihood([text, *others])])
    return int((sums[1:] >= sums[0]).sum())
