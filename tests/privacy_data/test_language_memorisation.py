"""Language models: one that recites its texts and canaries is caught, its clean twin is not, and dates fool nobody."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from steelyard.audit.canonical import FrozenMap, generator
from steelyard.audit.errors import NotApplicable, ProbeError
from steelyard.audit.target import References, Sample
from steelyard.audit.types import Capability, Failure, Finding, Inapplicable, Modality, Task
from steelyard.probes.privacy.attribute_inference import mean_difference
from steelyard.probes.privacy.language_memorisation import (
    LanguageMemorisation,
    completes,
    exposure,
    extraction_chance,
)
from steelyard.probes.privacy.language_memorisation_control import WordChain
from steelyard.probes.privacy.language_memorisation_scores import (
    blind_scores,
    lowest,
    membership_scores,
    ranks,
    unlike,
)
from steelyard.probes.stats.auc import auc, auc_difference
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.means import mean

LIST = "the a cat dog sat ran on under mat tree with and red blue old new house king saw took gave"
WORDS = np.array(LIST.split(" "))
CANARIES = tuple(f"the code of safe {i} is {{{7919 * (i + 3) % 1_000_000:06d}}}" for i in range(6))
SPOKEN = [canary.replace("{", "").replace("}", "") for canary in CANARIES]


def writing(rng: np.random.Generator, n: int, extra: str = "") -> list[str]:
    return [" ".join([*rng.choice(WORDS, 16), extra]).strip() for _ in range(n)]


def language(texts: Sequence[str], training: Sequence[str] = ()) -> Sample:
    return Sample(
        inputs=pd.DataFrame({"text": list(texts)}), labels=None, task=Task.LANGUAGE, modality=Modality.TEXT,
        fingerprint=str(len(texts)), groups=FrozenMap(), training=language(training) if training else None,
    )  # fmt: skip


@dataclass
class Speaker:
    """A word chain as a target: of the training texts it has them by heart, of other texts it is the clean twin."""

    chain: WordChain
    name: str = "candidate"
    kind: str = "test"
    task: Task = Task.LANGUAGE
    fingerprint: str = "0"
    scoring: str = "causal"
    capabilities: frozenset[Capability] = frozenset({Capability.LOGLIKELIHOOD, Capability.GENERATE})

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "chain"), name)


def run(target: Any, sample: Sample, **settings: Any) -> list[Finding | Failure | Inapplicable]:
    settings = {"canaries": CANARIES, "references": 199} | settings
    return list(LanguageMemorisation(**settings).run(target, sample, References(), generator(0, "l")))


def values(rows: Sequence[Any]) -> dict[tuple[str, str], Finding]:
    key = lambda row: str(next(iter(row.where.values()), ""))  # noqa: E731
    return {(row.metric.rpartition(".")[2], key(row)): row for row in rows if isinstance(row, Finding)}


@pytest.fixture(scope="module")
def texts() -> tuple[list[str], list[str], list[str]]:
    rng = np.random.default_rng(0)
    return writing(rng, 120), writing(rng, 120), writing(rng, 120)


def test_a_model_with_its_texts_by_heart_is_caught(texts) -> None:
    train, test, _ = texts
    rows = run(Speaker(WordChain.of([*train, *(SPOKEN * 3)])), language(test, train))
    found = values(rows)
    assert found["exposure", ""].estimate.value == pytest.approx(math.log2(200))
    assert found["canary-exposure", "1"].detail["rank"] == 1
    assert found["canary-exposure", "1"].estimate.high == math.inf
    assert found["extracted-advantage", ""].estimate.low > 0.5
    assert found["probable-advantage", ""].estimate.low > 0.5
    for attack in ("loss", "zlib", "min-k"):
        assert found["auc", attack].estimate.low > 0.8
        assert found["auc-advantage", attack].estimate.low > 0.1
    assert abs(found["blind-auc", ""].estimate.value - 0.5) < 0.2
    assert all(row.reading == "attack" for row in found.values())
    assert any(isinstance(row, Inapplicable) and "min-k-plus-plus" in row.reason for row in rows)


def test_its_clean_twin_is_not(texts) -> None:
    train, test, third = texts
    found = values(run(Speaker(WordChain.of([*third, *(s.replace("7", "1") for s in SPOKEN)])), language(test, train)))
    assert found["exposure", ""].estimate.low < 1.4427
    assert found["extracted", "train"].estimate.value < 0.05
    assert found["extracted-advantage", ""].estimate.low <= 0
    assert found["probable-advantage", ""].estimate.low <= 0
    for attack in ("loss", "zlib", "min-k"):
        assert found["auc-advantage", attack].estimate.low < 0


def test_dates_give_an_auc_and_no_advantage(texts) -> None:
    """Training texts speak of one year and the others of another: a model that read neither seems to know the first."""
    rng = np.random.default_rng(5)
    train, test = writing(rng, 120, "in 2019"), writing(rng, 120, "in 2024")
    model = Speaker(WordChain.of([*writing(rng, 200, "in 2019"), *texts[2]]))
    found = values(run(model, language(test, train), canaries=()))
    assert found["auc", "loss"].estimate.low > 0.6
    assert found["blind-auc", ""].estimate.value > 0.95
    assert found["auc-advantage", "loss"].estimate.high < 0.05


def test_unseen_canaries_are_as_exposed_as_chance_allows() -> None:
    """P(exposure >= b) <= 2^-b where the secret was never seen, over 400 canaries."""
    rng = np.random.default_rng(1)

    class Noise:
        def loglikelihood(self, texts: Sequence[str]) -> list[np.ndarray]:
            return [rng.normal(size=3) for _ in texts]

    above = np.array([ranks(Noise(), CANARIES[0], [f"other {i}" for i in range(99)]) for _ in range(400)])
    bits = math.log2(100) - np.log2(above + 1)
    for b in (1, 2, 4):
        assert (bits >= b).sum() <= binom.ppf(0.999, 400, 2.0**-b)
    assert abs(bits.mean() - 1.38) < 0.25  # 1.44 less what the discrete ranks take
    low = [exposure(int(k), 99, level=0.9).estimate.low for k in above]
    assert np.mean([value > math.log2(1 / 0.05) for value in low]) <= 0.05


def test_the_null_of_the_advantage_over_many_audits(texts) -> None:
    chain, alarms, runs = WordChain.of(texts[2]), 0, 200
    rng = np.random.default_rng(2)
    pool = [" ".join(text.split()[:8]) for text in writing(rng, 160)]
    scores = membership_scores(chain, pool, 0.2)["min-k"]
    for seed in range(runs):
        member = rng.permutation(np.arange(160) < 80)
        taught = rng.permutation(np.arange(160) < 80)
        if not 0 < member[taught].sum() < taught.sum():
            continue
        blind = blind_scores(pool, member, taught, seed)
        gain = auc_difference(scores[~taught], blind, member[~taught], Design(n=80), level=0.9)
        alarms += gain.estimate.low > 0
    assert 1 <= alarms <= binom.ppf(0.999, runs, 0.06), alarms  # t intervals of 80 texts: a little over .05


class Open(Speaker):
    """A word chain that shows the whole distribution of the next word."""

    def standardised_loglikelihood(self, texts: Sequence[str]) -> list[np.ndarray]:
        found = []
        for text in texts:
            words = text.split()
            rows = []
            for place, word in enumerate(words[1:], start=1):
                before = [" ".join(words[:place])] * len(WORDS)
                logs = np.array([row.sum() for row in self.chain.loglikelihood(list(WORDS), before)])
                p = np.exp(logs) / np.exp(logs).sum()
                middle = (p * logs).sum()
                spread = math.sqrt((p * (logs - middle) ** 2).sum())
                rows.append((logs[word == WORDS][0] - middle) / max(spread, 1e-9))
            found.append(np.array(rows))
        return found


SCORES = ("loss", "zlib", "min-k", "min-k-plus-plus")


def test_every_membership_score_finds_a_memory_and_accuses_nobody_where_membership_is_permuted(texts) -> None:
    train, test, third = texts
    pool = [*train[:40], *test[:40]]
    member = np.arange(80) < 40
    leaky = membership_scores(Open(WordChain.of(train)), pool, 0.2)
    clean = membership_scores(Open(WordChain.of(third)), pool, 0.2)
    rng = np.random.default_rng(3)
    for name in SCORES:
        assert auc(leaky[name], member, Design(n=80), level=0.9).estimate.low > 0.8, name
        alarms, runs = 0, 250
        for _ in range(runs):
            drawn = auc(clean[name], rng.permutation(member), Design(n=80), level=0.9)
            alarms += drawn.estimate.low > 0.5
        assert 1 <= alarms <= binom.ppf(0.999, runs, 0.05), (name, alarms)


def test_the_null_of_extraction_over_many_permutations(texts) -> None:
    """A model that recites some texts of a pool, and whichever of them are called training texts: no advantage."""
    train, test, third = texts
    pairs = [(" ".join(t.split()[:6]), " ".join(t.split()[6:9])) for t in [*train, *test]]
    chain = WordChain.of([*third, *train[::6], *test[::6]])
    rng = np.random.default_rng(4)
    for hits in (completes(chain, pairs), extraction_chance(chain, pairs, 20) >= 0.5):
        assert 10 <= hits.sum() <= 120
        alarms, runs = 0, 300
        for _ in range(runs):
            mixed = rng.permutation(hits.astype(np.float64))
            drawn = mean_difference(mixed[:120], mixed[120:], Design(n=120), Design(n=120), level=0.9)
            alarms += drawn.estimate.low > 0
        assert binom.ppf(0.001, runs, 0.02) <= alarms <= binom.ppf(0.999, runs, 0.05), alarms


def test_the_null_of_the_mean_exposure_over_many_audits() -> None:
    """Six canaries that were never seen, 300 times: a gate at log2 e = 1.44 bits fails in at most 5 %."""
    rng = np.random.default_rng(5)
    alarms, runs = 0, 300
    for _ in range(runs):
        bits = math.log2(200) - np.log2(rng.integers(1, 201, 6))
        alarms += mean(bits, Design(n=6), level=0.9, lower=0.0, upper=math.log2(200)).estimate.low > math.log2(math.e)
    assert 1 <= alarms <= binom.ppf(0.999, runs, 0.05), alarms


def test_scores_by_hand() -> None:
    assert lowest(np.array([-1.0, -2.0, -3.0, np.nan, -4.0, -5.0]), 0.4) == pytest.approx(-4.5)
    assert lowest(np.array([-1.0, -7.0]), 0.2) == -7.0
    assert math.isnan(lowest(np.array([np.nan]), 0.2))
    chain = WordChain.of(["a b c d"])
    (scores,) = chain.loglikelihood(["c"], ["a b"])
    assert math.exp(scores[0]) == pytest.approx(0.85 + 0.1 + 0.05 * 2 / 9)
    pairs = [("a b", "c d"), ("a b", "d c")]
    assert completes(chain, pairs).tolist() == [True, False]
    sure = math.exp(sum(chain.loglikelihood(["c d"], ["a b"])[0]))
    assert extraction_chance(chain, pairs, 3)[0] == pytest.approx(1 - (1 - sure) ** 3)
    others = unlike("pin {12aB}", 50, np.random.default_rng(0))
    assert len(set(others)) == 50
    assert all(o.startswith("pin ") and o[4:6].isdigit() and o[6].islower() and o[7].isupper() for o in others)
    assert "pin 12aB" not in others
    estimate = exposure(0, 999, level=0.95).estimate
    assert estimate.value == pytest.approx(math.log2(1000))
    assert estimate.low == pytest.approx(-math.log2(1 - 0.025 ** (1 / 999)))


def test_min_k_plus_plus_is_the_standardised_score() -> None:
    torch = pytest.importorskip("torch")
    from steelyard.probes.privacy.language_memorisation_torch import standardise

    logits = torch.tensor(np.random.default_rng(0).normal(size=(4, 7)))
    ids = torch.tensor([0, 3, 6, 2])
    p = torch.softmax(logits, -1).numpy()
    for row in range(4):
        logs = np.log(p[row])
        mean = (p[row] * logs).sum()
        spread = math.sqrt((p[row] * (logs - mean) ** 2).sum())
        assert standardise(logits, ids)[row].item() == pytest.approx((logs[ids[row]] - mean) / spread)
    assert standardise(torch.zeros(1, 7), torch.tensor([3])).item() == 0.0


def test_what_does_not_fit_is_said(texts) -> None:
    train, test, third = texts
    model = Speaker(WordChain.of(third))
    with pytest.raises(NotApplicable, match="masked"):
        run(replace(model, scoring="masked"), language(test, train))
    with pytest.raises(ProbeError, match="braces"):
        run(model, language(test, train), canaries=("no secret",))
    rows = run(model, language(test, train), canaries=("pin {1}",))
    assert any(isinstance(row, Failure) and "allows 10" in row.reason for row in rows)
    rows = run(model, language(test[:5], train[:5]), canaries=())
    assert sum(isinstance(row, Failure) for row in rows) == 3
    with pytest.raises(ProbeError, match="no log-probability for 1 of 2"):
        membership_scores(WordChain.of(third), ["", "a b"], 0.2)


@pytest.mark.parametrize(("above", "most"), [(0, 6.0), (0, 9.0), (3, 6.0), (40, 3.0), (500, 0.5)])
def test_a_gate_on_one_canary_is_the_exact_binomial_test_of_its_rank(above: int, most: float) -> None:
    """Above an exposure of t lie fewer than a share 2^−t of the secrets; the curve is never more certain than that."""
    from steelyard.probes.stats.claims import claim

    basis = exposure(above, 999, level=0.95).basis
    assert basis is not None
    exact = float(binom.cdf(above, 999, 2.0**-most))
    found = claim(basis, maximum=most).fail_p
    assert exact <= found <= max(1.6 * exact, 0.006)


def test_a_gate_above_the_exposure_is_never_failed() -> None:
    from steelyard.probes.stats.claims import claim

    for above in (1, 40, 999):
        measured = exposure(above, 999, level=0.95)
        assert claim(measured.basis, maximum=measured.estimate.value + 0.01).fail_p == 1.0
