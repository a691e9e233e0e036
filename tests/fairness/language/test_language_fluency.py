"""A model whose head was never trained is refused, not scored: its 50 % would read as free of stereotypes."""

from __future__ import annotations

import numpy as np
import pytest

from steelyard.audit.errors import ProbeError
from steelyard.probes.fairness.language.asking import average, loglikelihoods, token_ids, total
from steelyard.probes.fairness.language.fluency import PLAIN, refuse_untrained, shuffled
from steelyard.probes.fairness.language.jointly import with_limits


def test_shuffled_sentences_have_the_same_words_in_another_order():
    others = shuffled(PLAIN)
    assert others == shuffled(PLAIN)
    for plain, other in zip(PLAIN, others, strict=True):
        assert plain != other
        assert sorted(plain.casefold().rstrip(".").split()) == sorted(other.casefold().rstrip(".").split())
        assert other.endswith(".")
    assert len(set(PLAIN)) == len(PLAIN) >= 48


def test_a_model_that_knows_the_language_is_let_through(planted):
    model = planted()
    refuse_untrained(model)
    assert model.asked == 2 * len(PLAIN)


def test_a_model_that_does_not_is_refused_with_the_count(planted):
    with pytest.raises(ProbeError, match=r"only \d+ of 48 plain sentences") as error:
        refuse_untrained(planted(fluent=False))
    assert "trained" in error.value.hint


def test_null_untrained_models_slip_through_in_at_most_one_of_a_hundred(planted):
    """The design is one of a thousand; 200 models that know nothing."""
    through = 0
    for seed in range(200):
        try:
            refuse_untrained(Untrained(seed))
            through += 1
        except ProbeError:
            pass
    assert through <= 2


class Untrained:
    """Every text has a random score."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def loglikelihood(self, texts, prefixes=None):
        return [-self.rng.uniform(1, 9, 4) for _ in texts]


def test_a_constant_model_is_refused():
    class Constant:
        def loglikelihood(self, texts, prefixes=None):
            return [np.full(len(text.split()), -2.0) for text in texts]

    with pytest.raises(ProbeError, match="only 0 of 48"):
        refuse_untrained(Constant())


def test_every_different_text_is_asked_once(planted):
    model = planted()
    told = loglikelihoods(model, ["a b", "c", "a b"], ["x", "x", "x"])
    assert model.asked == 2
    assert told[0] is told[2]
    loglikelihoods(model, ["a b", "a b"], ["x", "y"])
    assert model.asked == 4


class Says:
    def __init__(self, *answers):
        self.answers = answers

    def loglikelihood(self, texts, prefixes=None):
        return [np.array(answer, dtype=float) for answer in self.answers]

    def tokenize(self, texts):
        return [(1, 2, 3) for _ in texts]


def test_a_first_token_that_nothing_comes_before_is_left_out():
    [values] = loglikelihoods(Says([np.nan, -1.0, -3.0]), ["a b c"])
    assert total(values) == -4.0
    assert average(values) == -2.0


@pytest.mark.parametrize(
    ("answers", "texts", "prefixes", "said"),
    [
        (([-1.0],), ["a", "b"], None, "1 answers to 2 texts"),
        (([-1.0, np.nan],), ["a b"], None, "not finite"),
        (([np.nan, -1.0],), ["a b"], ["x"], "not finite"),
        (([-1.0, -np.inf],), ["a b"], None, "not finite"),
        (([-1.0, 0.5],), ["a b"], None, "numbers up to 0"),
        (([],), ["a"], None, "no token"),
        (([np.nan],), ["a"], None, "no token"),
    ],
)
def test_answers_that_are_no_log_probabilities_are_refused(answers, texts, prefixes, said):
    with pytest.raises(ProbeError, match=said):
        loglikelihoods(Says(*answers), texts, prefixes)


def test_tokens_and_scores_must_agree():
    with pytest.raises(ProbeError, match=r"3 tokens .* but scores 2"):
        token_ids(Says(), ["a b"], [np.array([-1.0, -1.0])])


def test_limits_are_cut_to_the_range_and_hold_the_value():
    measured = with_limits(0.9, lambda c: (0.9 - c, 0.9 + c), level=0.5, n=3, method="test", lower=0.0, upper=1.0)
    assert (measured.estimate.low, measured.estimate.high) == (pytest.approx(0.4), 1.0)
    assert measured.basis.quantiles[100] == pytest.approx(0.5)
