"""WEAT and SEAT: the formula by hand, the exact test, coverage of the limits, planted associations, the control."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest

from steelyard.audit.canonical import generator
from steelyard.audit.errors import ProbeError
from steelyard.audit.types import Failure
from steelyard.probes.fairness.language.association import (
    effect_size,
    leanings,
    measured_effect,
    noncentral_t,
    permutation_p,
)
from steelyard.probes.fairness.language.weat import Weat
from steelyard.probes.fairness.language.weat_words import CONTROL, SENTENCES, TESTS, read_tests
from steelyard.probes.stats.claims import claim

WORDS, WORST, SEAT = (f"fairness.weat.{n}" for n in ("effect-size", "largest-effect-size", "sentence-effect-size"))
WORST_SEAT = "fairness.weat.largest-sentence-effect-size"


def cosine(u, v):
    return sum(a * b for a, b in zip(u, v, strict=True)) / math.hypot(*u) / math.hypot(*v)


def test_leanings_and_effect_size_are_those_of_the_definition():
    rng = np.random.default_rng(1)
    X, Y, A, B = (rng.normal(size=(n, 5)) for n in (4, 4, 3, 6))

    def s(w):
        return sum(cosine(w, a) for a in A) / len(A) - sum(cosine(w, b) for b in B) / len(B)

    x, y = leanings(X, A, B), leanings(Y, A, B)
    assert x == pytest.approx([s(w) for w in X])
    both = [s(w) for w in (*X, *Y)]
    middle = sum(both) / 8
    deviation = math.sqrt(sum((v - middle) ** 2 for v in both) / 7)
    assert effect_size(x, y) == pytest.approx((sum(both[:4]) / 4 - sum(both[4:]) / 4) / deviation)
    assert effect_size(y, x) == pytest.approx(-effect_size(x, y))


def test_the_effect_size_of_two_and_two_by_hand():
    # leanings 3, 1 and 1, -1: mean difference 2; deviations from 1 are 2, 0, 0, -2, so std = sqrt(8/3)
    assert effect_size(np.array([3.0, 1.0]), np.array([1.0, -1.0])) == pytest.approx(2 / math.sqrt(8 / 3))
    with pytest.raises(ProbeError, match="leans alike"):
        effect_size(np.array([1.0, 1.0]), np.array([1.0, 1.0]))


def test_the_permutation_test_is_exact_for_few_words_and_close_for_many():
    x, y = np.array([3.0, 1.5, 2.0]), np.array([1.0, -1.0, 1.7])
    both = [*x, *y]
    sums = [sum(chosen) for chosen in itertools.combinations(both, 3)]
    rng = generator(0, "p")
    assert permutation_p(x, y, rng) == pytest.approx(np.mean([s >= sum(x) for s in sums]))
    assert permutation_p(x, x, rng) > 0.4
    many = np.random.default_rng(2).normal(size=50)
    p = permutation_p(many[:25] + 0.5, many[25:], rng)
    from scipy.stats import ttest_ind

    assert p == pytest.approx(ttest_ind(many[:25] + 0.5, many[25:], alternative="greater").pvalue, abs=0.012)
    assert permutation_p(many + 9, many, rng) == pytest.approx(1 / 10001)


def test_the_noncentral_t_is_scipys():
    from scipy.stats import nct

    for t, df, shift in ((2.0, 14.0, 1.0), (-1.0, 4.0, 0.5), (8.0, 62.0, 6.5), (0.0, 10.0, -2.0)):
        assert noncentral_t(t, df, np.array([shift]))[0] == pytest.approx(nct.cdf(t, df, shift), abs=1e-4)


@pytest.mark.parametrize("g", [0.0, 1.2])
def test_null_limits_of_the_effect_size_cover_and_gates_keep_alpha(g):
    """Normal leanings, two sets of 8 words apart by g within-set deviations; d is what g is in WEAT's denominator."""
    rng = np.random.default_rng(11)
    n, total, h = 8, 16, 4.0
    truth = g * math.sqrt((total - 1) / (total - 2 + h * g * g))
    held = alarms = 0
    for _ in range(300):
        x, y = rng.normal(g, 1, n), rng.normal(0, 1, n)
        measured = measured_effect(x, y, level=0.95)
        held += measured.estimate.low <= truth <= measured.estimate.high
        alarms += claim(measured.basis, minimum=truth, maximum=truth).fail_p <= 0.05
    assert 270 <= held <= 297  # 95 % of 300, with the .05 and 99.9 % points
    assert alarms <= 27


def test_limits_reach_further_on_the_inner_side():
    measured = measured_effect(np.arange(8.0) + 9, np.arange(8.0), level=0.95).estimate
    assert 1.5 < measured.value < 2.0
    assert measured.value - measured.low > measured.high - measured.value > 0
    with pytest.raises(ProbeError, match="two words"):
        measured_effect(np.array([1.0]), np.array([2.0]), level=0.95)
    with pytest.raises(ProbeError, match="spread"):
        measured_effect(np.array([1.0, 1.0]), np.array([2.0, 2.0]), level=0.95)


class Space:
    """Words have random vectors; those of X and A, and of Y and B, of the planted tests lean together."""

    def __init__(self, tests, strength, seed=0, size=40):
        self.size, self.seed, self.lean = size, seed, {}
        for test in tests:
            for words, sign in zip((*test.targets, *test.attributes), (1, -1, 1, -1), strict=True):
                for word in words:
                    self.lean.setdefault(word, sign * strength)

    def __call__(self, text):
        word = next((w for w in text.replace(".", "").replace(":", "").split() if w in self.lean), text)
        vector = np.random.default_rng([*word.encode(), self.seed]).normal(size=self.size)
        vector[0] += self.lean.get(word, 0.0)
        return vector + 0.05 * np.random.default_rng([*text.encode()]).normal(size=self.size)


def test_a_planted_association_is_found_and_its_twin_is_not(planted, asked, found, well_formed):
    weat6 = next(test for test in TESTS if test.name == "weat-6")
    bad = planted(vectors=Space([CONTROL, weat6], 2.5))
    rows = asked(Weat(), bad)
    well_formed(Weat(), rows, asked(Weat(), bad))
    for metric in (WORDS, SEAT):
        measured = found(rows, metric, category="weat-6")
        assert measured.estimate.value > 0.8
        assert measured.estimate.low > 0.0
        assert measured.detail["permutation_p"] < 0.01
    assert found(rows, WORST).detail["category"] == "weat-6"
    assert found(rows, WORST).detail["tests"] == 8
    assert "effect_over_sentences" in found(rows, SEAT, category="weat-6").detail
    assert found(rows, SEAT, category="weat-6").estimate.n == 16  # words, not their sentences
    twin = asked(Weat(), planted(vectors=Space([CONTROL], 2.5, seed=1)))
    assert found(twin, WORDS, category="weat-6").estimate.low < 0 < found(twin, WORDS, category="weat-6").estimate.high
    assert found(twin, WORST).estimate.low == 0.0


def test_embeddings_without_the_control_are_not_read_as_fair(planted, asked, found):
    random = planted(vectors=Space([], 0.0, seed=3))
    rows = asked(Weat(), random)
    assert all(isinstance(row, Failure) for row in rows)
    assert {metric for row in rows for metric in row.metrics} == {WORDS, WORST, SEAT, WORST_SEAT}
    assert "flowers" in rows[0].reason
    assert found(asked(Weat(control=False), random), WORST).estimate.n > 100


def test_untrained_embeddings_pass_the_control_in_at_most_alpha(planted):
    through = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        X, Y, A, B = (rng.normal(size=(25, 30)) for _ in range(4))
        through += permutation_p(leanings(X, A, B), leanings(Y, A, B), rng) <= 0.05
    assert through <= 12  # the 99.9 % point of a binomial of 100 at .05


def test_the_published_word_lists_are_whole():
    sizes = {test.name: tuple(len(words) for words in (*test.targets, *test.attributes)) for test in (CONTROL, *TESTS)}
    assert sizes == {
        "weat-1": (25, 25, 25, 25), "weat-3": (32, 32, 25, 25), "weat-4": (16, 16, 25, 25), "weat-5": (16, 16, 8, 8),
        "weat-6": (8, 8, 8, 8), "weat-7": (8, 8, 8, 8), "weat-8": (8, 8, 8, 8), "weat-9": (6, 6, 7, 7),
        "weat-10": (8, 8, 8, 8),
    }  # fmt: skip
    assert all(sentence.count("{w}") == 1 for sentence in SENTENCES)
    for test in (CONTROL, *TESTS):
        words = [word for two in (test.targets, test.attributes) for s in two for word in s]
        assert len(set(words)) == len(words), test.name


def test_own_tests_are_read(tmp_path, planted, asked, found):
    own = {"own": {"targets": [["aa", "bb", "cc"], ["dd", "ee", "ff"]], "attributes": [["gg", "hh"], ["ii", "jj"]]}}
    path = tmp_path / "own.json"
    path.write_text(json.dumps(own), encoding="utf-8")
    space = Space([CONTROL, *read_tests(json.dumps(own), "own.json")], 2.5)
    rows = asked(Weat(path=str(path)), planted(vectors=space))
    assert found(rows, WORDS, category="own").estimate.value > 1.0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not JSON"),
        ("[]", "must map names"),
        ('{"t": {"targets": [["a"]]}}', "two lists"),
        ('{"t": {"targets": [["a"], ["b"]], "attributes": [[], []]}}', "two or more"),
        ('{"t": {"targets": [["a", "b", "c"], ["d", "e"]], "attributes": [["f", "g"], ["h", "i"]]}}', "one length"),
    ],
)
def test_own_tests_that_are_wrong_say_so(content, said):
    with pytest.raises(ProbeError, match=said):
        read_tests(content, "own.json")


@pytest.mark.parametrize(
    ("vector", "said"),
    [(np.zeros(3), "no direction"), (np.full(3, np.nan), "no direction"), (np.zeros((2, 2)), "shape")],
)
def test_what_are_no_vectors_is_refused(vector, said, planted, asked):
    with pytest.raises(ProbeError, match=said):
        asked(Weat(), planted(vectors=lambda text: vector))
