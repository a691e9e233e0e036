"""Identity terms in text: hand cases, a classifier with a planted bias and its clean twin, the trap of not pairing."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from steelyard.audit import audit
from steelyard.audit.canonical import generator
from steelyard.audit.target import References, Sample
from steelyard.audit.types import Modality, Status, Task
from steelyard.audit.units import Unit, run_unit
from steelyard.models.targets.load import wrap
from steelyard.probes.fairness.identity_terms import IdentityTerms, paired_gaps
from steelyard.probes.fairness.individual import Individual
from steelyard.probes.fairness.templates import SLOT, filled, load_templates, text_column
from steelyard.probes.stats.claims import claim
from steelyard.probes.stats.largest import joint_errors, largest

ID = "fairness.identity-terms"
GOOD = [
    "wonderful",
    "grateful",
    "joy",
    "loved",
    "warmth",
    "wit",
    "patient",
    "helped",
    "applauded",
    "prize",
    "played",
    "welcomed",
    "kind",
    "calm",
    "brave",
]
BAD = [
    "rude",
    "lied",
    "shouted",
    "terrible",
    "insulted",
    "rubbish",
    "regretted",
    "painful",
    "vanished",
    "broke",
    "boring",
    "cruel",
    "lost",
    "dirty",
    "late",
]
PLAIN = [
    "the",
    "a",
    "we",
    "they",
    "house",
    "street",
    "letter",
    "monday",
    "river",
    "train",
    "office",
    "garden",
    "colour",
    "table",
    "morning",
    "window",
    "paper",
]
FAITHS = ("Muslim", "Christian", "Jewish", "Hindu")


def corpus(biased: bool, n: int = 3000, seed: int = 0):
    """Reviews, half of them good; each names a faith. Where it is biased, Muslim stands mostly in the bad ones."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    texts = []
    for label in labels:
        tilt = [0.05, 0.35, 0.3, 0.3] if label else [0.7, 0.1, 0.1, 0.1]
        faith = rng.choice(FAITHS, p=tilt if biased else None)
        words = [*rng.choice(GOOD if label else BAD, 2), *rng.choice(PLAIN, 6), faith]
        texts.append(" ".join(rng.permutation(words)))
    return pd.DataFrame({"text": texts}), labels


def trained(biased: bool):
    X, y = corpus(biased)
    model = make_pipeline(ColumnTransformer([("words", TfidfVectorizer(), "text")]), LogisticRegression())
    return model.fit(X, y)


@pytest.fixture(scope="module")
def biased():
    return trained(True)


@pytest.fixture(scope="module")
def clean():
    return trained(False)


def measured(model, *, frame=None, settings=None, gates=(), **kwargs):
    X, y = corpus(False, n=200, seed=9) if frame is None else (frame, np.arange(len(frame)) % 2)
    return audit(model, X, y, probes=[{ID: settings or {}}], gates=gates, **kwargs)


def finding(record, statistic, **where):
    (found,) = [f for f in record.findings_of(f"{ID}.{statistic}") if dict(f.where) == where]
    return found


class Scorer:
    """P(positive) as a function of the text."""

    classes_ = np.array([0, 1])

    def __init__(self, score):
        self.score = score

    def predict_proba(self, X):
        p = X["text"].map(self.score).to_numpy(dtype=float)
        return np.column_stack([1 - p, p])

    def predict(self, X):
        return (self.predict_proba(X)[:, 1] >= 0.5).astype(int)


def own_file(tmp_path, terms=("red", "blue", "green"), n=12):
    path = tmp_path / "mine.yaml"
    texts = [f"sentence number {i} about {SLOT} people" for i in range(n)]
    path.write_text(json.dumps({"categories": {"colour": list(terms)}, "templates": texts}), encoding="utf-8")
    return str(path)


def test_what_comes_along():
    ours = load_templates("")
    assert len(ours.texts) >= 40
    assert len(ours.terms) >= 5
    assert all(text.count(SLOT) == 1 for text in ours.texts)
    assert not any(f" {article} {SLOT}" in f" {text.lower()}" for text in ours.texts for article in ("a", "an"))
    assert len(set(ours.texts)) == len(ours.texts)


def test_a_case_worked_by_hand(tmp_path):
    def score(text):
        number = int(text.split()[2]) if text.startswith("sentence") else 0
        return 0.1 + 0.05 * number + (0.06 if "red" in text else 0.0)

    record = measured(Scorer(score), settings={"templates": own_file(tmp_path)})
    # .1 + .05 i: of 12 templates only i = 7 (.45) is carried over .5 by the .06
    assert finding(record, "gap", category="colour", term="red").estimate.value == pytest.approx(0.04)
    assert finding(record, "gap", category="colour", term="blue").estimate.value == pytest.approx(-0.02)
    assert finding(record, "largest-gap", category="colour").estimate.value == pytest.approx(0.04)
    assert finding(record, "largest-gap", category="colour").detail["term"] == "red"
    assert finding(record, "flip-rate", category="colour").estimate.value == pytest.approx(1 / 12)
    assert finding(record, "term-flip-rate", category="colour", term="red").estimate.value == pytest.approx(1 / 12)
    assert finding(record, "term-flip-rate", category="colour", term="blue").estimate.value == 0.0
    assert finding(record, "flip-rate", category="colour").estimate.n == 12


def test_oracle_scipys_paired_t_interval():
    """On gaps that lie evenly about their mean: without skewness the interval is the plain t's."""
    from scipy import stats

    rng = np.random.default_rng(0)
    scores = rng.uniform(size=(24, 5))
    scores = np.concatenate([scores, 1 - scores])
    gap = paired_gaps(scores)[:, 2]
    theirs = stats.ttest_rel(scores[:, 2], scores.mean(axis=1)).confidence_interval(0.95)
    from steelyard.probes.stats.linearised import Design
    from steelyard.probes.stats.means import mean

    ours = mean(gap, Design(n=48), level=0.95).estimate
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


GATES = [
    {"metric": f"{ID}.largest-gap", "max": 0.1},
    {"metric": f"{ID}.flip-rate", "max": 0.35},
]


def test_planted_truth_a_term_that_was_trained_to_be_bad_is_named_and_its_clean_twin_passes(biased, clean):
    bad, good = measured(biased, gates=GATES), measured(clean, gates=GATES)
    worst = finding(bad, "largest-gap", category="religion")
    assert worst.detail["term"] == "Muslim"
    assert worst.detail["gap"] < -0.1
    assert bad.verdicts[0].status is Status.FAIL
    assert bad.verdicts[0].detail["category"] == "religion"
    assert good.verdicts[0].status is Status.PASS
    assert good.verdicts[1].status is Status.PASS
    assert finding(bad, "gap", category="religion", term="Muslim").estimate.high < 0
    # a category whose words the model has never seen shows no gap, with a bound and not a certainty
    unseen = finding(bad, "largest-gap", category="disability").estimate
    assert unseen.value == 0.0
    assert unseen.high > 0.0


def test_the_trap_without_pairing_the_gap_of_sentences_passes_for_that_of_terms():
    """Half of the templates for one term, half for the other: the error is many times that of pairing."""
    rng = np.random.default_rng(1)
    errors = {"paired": [], "unpaired": []}
    for _ in range(200):
        sentence = rng.uniform(0.1, 0.9, 48)
        scores = np.stack([sentence, sentence - 0.03], axis=1) + rng.normal(0, 0.01, (48, 2))
        errors["paired"].append(np.diff(scores.mean(axis=0))[0] + 0.03)
        halves = rng.permutation(48)
        errors["unpaired"].append(scores[halves[:24], 1].mean() - scores[halves[24:], 0].mean() + 0.03)
    assert np.std(errors["unpaired"]) > 20 * np.std(errors["paired"])
    assert np.std(errors["unpaired"]) > 0.03  # more than the whole gap


def test_null_terms_without_a_gap_are_called_unequal_in_at_most_alpha_of_the_runs():
    runs, alarms = 500, 0
    for seed in range(runs):
        rng = np.random.default_rng(3000 + seed)
        scores = rng.uniform(0.2, 0.8, (48, 1)) + rng.normal(0, 0.05, (48, 6))
        gaps = paired_gaps(scores)
        errors = joint_errors(np.cov(gaps, rowvar=False) / 48, 47.0, 1000, generator(seed, "test"))
        reading = largest(gaps.mean(axis=0), errors, level=0.95, n=48, method="", upper=1.0)
        alarms += claim(reading.basis, maximum=0.0).fail_p <= 0.05
    assert 9 <= alarms <= 40  # the .1 and 99.9 % points of a binomial of 500 at .05


def test_other_inputs_are_held_at_values_that_occur():
    frame = pd.DataFrame(
        {
            "stars": [1, 5, 3, 3],
            "text": ["a long sentence of words"] * 4,
            "shop": pd.Categorical(["x", "y", "y", "z"]),
            "price": [1.5, np.nan, 2.5, 9.0],
        }
    )
    made = filled(frame, "text", ["one", "two"])
    assert made.to_dict("list") == {"stars": [3, 3], "text": ["one", "two"], "shop": ["y", "y"], "price": [2.5, 2.5]}
    assert made.dtypes["stars"] == frame.dtypes["stars"]
    assert made.dtypes["shop"] == frame.dtypes["shop"]


def test_the_text_column_is_found_or_named(clean):
    frame, _ = corpus(False, n=60)
    assert text_column(frame.assign(code="ab", n=1), "") == "text"
    assert text_column(frame.assign(more=frame["text"]), "") == ""
    assert text_column(frame.assign(more=frame["text"]), "more") == "more"
    assert text_column(frame.to_numpy(), "") == ""
    none = measured(lambda X: np.zeros(len(X), dtype=int), frame=pd.DataFrame({"x": np.arange(60.0)}))
    assert "no input column is text" in none.inapplicable[0].reason
    lacking = measured(clean, settings={"text": "body"})
    assert "'body'" in lacking.failures[0].reason


def test_a_model_that_only_decides_has_flips_and_no_gaps(tmp_path):
    record = measured(
        lambda X: X["text"].str.contains("red").astype(int).to_numpy(), settings={"templates": own_file(tmp_path)}
    )
    assert finding(record, "flip-rate", category="colour").estimate.value == 1.0
    assert finding(record, "term-flip-rate", category="colour", term="red").estimate.value == 1.0
    assert not record.findings_of(f"{ID}.gap")
    assert "no gaps" in record.inapplicable[0].reason


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "neither JSON nor YAML"),
        ("[1]", "lacks `categories`"),
        ('{"categories": {"c": ["a", "b"]}, "templates": ["no slot"]}', "templates[0]"),
        ('{"categories": {"c": ["a", "b"]}, "templates": ["the {term} one"]}', "1 different templates"),
        ('{"categories": {"c": ["a"]}, "templates": %s}', "two or more terms"),
        ('{"categories": {}, "templates": %s}', "is empty"),
    ],
)
def test_a_template_file_that_is_wrong_says_where(content, said, tmp_path, clean):
    path = tmp_path / "mine.json"
    path.write_text(content.replace("%s", json.dumps([f"{i} {SLOT}" for i in range(12)])), encoding="utf-8")
    record = measured(clean, settings={"templates": str(path)})
    assert said in record.failures[0].reason


def test_a_template_file_that_is_not_there(clean):
    assert "cannot be read" in measured(clean, settings={"templates": "no/such.yaml"}).failures[0].reason


def bare_texts(n=60):
    """A sample whose inputs are texts alone, as `data.text` makes it."""
    texts = np.array([f"{'good' if i % 2 else 'bad'} sentence number {i}" for i in range(n)], dtype=object)
    return Sample(
        inputs=texts, labels=np.arange(n) % 2, task=Task.BINARY, modality=Modality.TEXT, fingerprint="texts",
        classes=("0", "1"),
    )  # fmt: skip


class BareScorer(Scorer):
    """Takes texts as they stand, in an array of one dimension, and says so where it gets something else."""

    def predict_proba(self, X):
        assert isinstance(X, np.ndarray)
        assert X.ndim == 1
        p = np.array([self.score(text) for text in X], dtype=float)
        return np.column_stack([1 - p, p])


def of_unit(probe, target, sample):
    return run_unit(Unit(probe=probe, target=target, references=References(), key="k"), sample, 0)


def test_a_model_of_bare_texts_is_given_texts(tmp_path):
    sample = bare_texts()
    target = wrap(BareScorer(lambda text: 0.2 + 0.06 * ("red" in text)), sample)
    found = of_unit(IdentityTerms(templates=own_file(tmp_path)), target, sample)
    assert not found.failures
    gaps = {f.where["term"]: f.estimate.value for f in found.findings if f.metric == f"{ID}.gap"}
    assert gaps == pytest.approx({"red": 0.04, "blue": -0.02, "green": -0.02})


def test_bare_texts_have_no_columns_in_which_rows_could_be_alike():
    sample = bare_texts()
    found = of_unit(Individual(), wrap(BareScorer(lambda text: 0.5), sample), sample)
    assert not found.findings
    assert "the inputs are texts" in found.inapplicable[0].reason
