"""HONEST and BOLD: what counts as hurtful or unkind, planted writers, prompts of ours and of a file, null models."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from steelyard.audit.canonical import generator
from steelyard.audit.errors import ProbeError
from steelyard.audit.types import Failure, Finding
from steelyard.probes.fairness.language.bold import Bold
from steelyard.probes.fairness.language.honest import Honest
from steelyard.probes.fairness.language.lexicon import Lexicon, hurtful_words, sentiment_words, words_of
from steelyard.probes.fairness.language.prompts import Prompt, bold_prompts, identity_prompts, own_bold_prompts
from steelyard.probes.fairness.language.written import compare
from steelyard.probes.quality.outputs import Scribe
from steelyard.probes.stats.claims import claim

SCORE, GROUP, GAP = (f"fairness.honest.{name}" for name in ("score", "group-score", "largest-gap"))
MEAN, MEAN_GAP = "fairness.bold.sentiment", "fairness.bold.largest-sentiment-gap"
SHARE, SHARE_GAP = "fairness.bold.negative-share", "fairness.bold.largest-negative-gap"


def chance(prompt, seed):
    return float(np.random.default_rng([*prompt.encode(), seed % 1000]).uniform())


def test_words_are_found_whole_and_in_any_case():
    assert words_of("Don’t-know, O'Neill: an IDIOT!") == ["don't-know", "o'neill", "an", "idiot"]
    lexicon = Lexicon.of("x", {"idiot": 1.0, "couch potato": 1.0})
    assert lexicon.holds("What an Idiot.")
    assert lexicon.holds("a couch, potato")
    assert not lexicon.holds("idiotic couch of potatoes")
    assert lexicon.longest == 2


def test_sentiment_by_hand():
    lexicon = Lexicon.of("x", {"good": 1.0, "bad": -0.5})
    assert lexicon.sentiment("nothing here") == 0.0
    assert lexicon.sentiment("good and bad") == pytest.approx(0.25)
    assert lexicon.sentiment("not a good man") == -1.0
    assert lexicon.sentiment("not that he was good") == 1.0  # the negation is too far away
    assert lexicon.sentiment("never bad") == 0.5


def test_the_own_lists_do_not_contradict_themselves():
    words = sentiment_words("")
    assert set(words.values.values()) == {1.0, -1.0}
    assert len(words.values) > 150
    assert len(hurtful_words("").values) > 60
    assert words.values["kind"] == 1.0


def test_lexicons_of_a_user(tmp_path):
    table = tmp_path / "hurtlex.tsv"
    table.write_text("id\tpos\tcategory\tstereotype\tlemma\tlevel\n1\tn\tps\tno\tbad egg\tconservative\n2\tn\tps\tno\tegg\tinclusive\n", encoding="utf-8")  # fmt: skip  # noqa: E501
    assert set(hurtful_words(str(table)).values) == {"bad egg"}
    plain = tmp_path / "plain.txt"
    plain.write_text("Nincompoop\nbad egg\n\n", encoding="utf-8")
    assert set(hurtful_words(str(plain)).values) == {"nincompoop", "bad egg"}
    valued = tmp_path / "valued.tsv"
    valued.write_text("lovely\t0.8\nbad egg\t-1\n", encoding="utf-8")
    assert sentiment_words(str(valued)).values == {"lovely": 0.8, "bad egg": -1.0}
    for content, said in (("lovely\tvery\n", "no number"), ("lovely\t3\n", "from −1 to 1"), ("", "no words")):
        valued.write_text(content, encoding="utf-8")
        with pytest.raises(ProbeError, match=said):
            sentiment_words(str(valued))


def test_every_group_meets_every_template_equally_often():
    prompts = identity_prompts()
    assert len({p.source for p in prompts}) == 16
    assert set(Counter((p.source, p.group) for p in prompts).values()) == {6}
    own = own_bold_prompts()
    assert set(Counter((p.domain, p.group) for p in own).values()) == {16}
    assert not [p.text for p in own if " a a" in p.text.lower() or "{" in p.text]
    assert any("An Asian man" in p.text for p in own)


def hurts(women, men, kind="a complete idiot and"):
    def write(prompt, seed):
        about_women = any(f" {w}" in prompt for w in ("woman", "girl", "mother", "daughter", "wife", "sister"))
        return kind if chance(prompt, seed) < (women if about_women else men) else "teacher from the town"

    return write


def test_honest_finds_a_planted_insult_and_not_in_its_twin(planted, asked, found, well_formed):
    probe = Honest(completions=3)
    model = planted(writes=hurts(0.5, 0.1))
    rows = asked(probe, model)
    well_formed(probe, rows, asked(probe, model))
    assert found(rows, GROUP, category="identity", term="women").estimate.value == pytest.approx(0.5, abs=0.08)
    assert found(rows, GROUP, category="identity", term="men").estimate.value == pytest.approx(0.1, abs=0.06)
    gap = found(rows, GAP, category="identity")
    assert gap.detail["highest"] == "women"
    assert claim(gap.basis, maximum=0.1).fail_p <= 0.05
    texts = json.loads(found(rows, SCORE).evidence[0].data)["texts"]
    by_hand = np.mean(["idiot" in text for each in texts for text in each])
    assert found(rows, SCORE).estimate.value == pytest.approx(by_hand)
    assert found(rows, SCORE).estimate.n == 3 * 288
    twin = asked(probe, planted(writes=hurts(0.2, 0.2)))
    assert found(twin, GAP, category="identity").estimate.low < 0.03
    assert claim(found(twin, GAP, category="identity").basis, maximum=0.2).pass_p <= 0.05


def test_a_model_that_never_insults_has_a_bound_and_no_certainty(planted, asked, found):
    rows = asked(Honest(), planted())
    score = found(rows, SCORE).estimate
    assert (score.value, score.low) == (0.0, 0.0)
    assert 0.0 < score.high < 0.3


@pytest.mark.parametrize("probe", [Honest(), Bold()], ids=["honest", "bold"])
def test_silence_is_no_kindness(probe, planted, asked):
    with pytest.raises(ProbeError, match="are blank"):
        asked(probe, planted(writes=lambda prompt, seed: " "))
    with pytest.raises(ProbeError, match="no better than chance"):
        asked(probe, planted(fluent=False))


def kindness(prompt, seed):
    low = "Muslim" in prompt
    return "he was kind and good" if chance(prompt, seed) < (0.1 if low else 0.9) else "he was cruel and bad"


def test_bold_finds_a_planted_unkindness_and_not_in_its_twin(planted, asked, found, well_formed):
    probe = Bold(completions=4)
    rows = asked(probe, planted(writes=kindness))
    well_formed(probe, rows, asked(probe, planted(writes=kindness)))
    gap = found(rows, MEAN_GAP, category="religion")
    assert gap.detail["lowest"] == "Muslim"
    assert gap.detail["groups"] == 6
    assert claim(gap.basis, maximum=0.2).fail_p <= 0.05
    assert found(rows, SHARE, category="religion", term="Muslim").estimate.value == pytest.approx(0.9, abs=0.1)
    assert claim(found(rows, SHARE_GAP, category="religion").basis, maximum=0.1).fail_p <= 0.05
    for domain in ("gender", "race"):
        assert found(rows, MEAN_GAP, category=domain).estimate.low == 0.0
    assert found(rows, MEAN_GAP, category="gender").evidence


def test_the_prompts_of_a_file_in_bolds_shape(tmp_path, planted, asked, found):
    pages = {f"Page{i}": [f"Page{i} is a", f"Page{i} was once"] for i in range(30)}
    path = tmp_path / "gender_prompt.json"
    path.write_text(json.dumps({"American_actors": pages, "American_actresses": pages}), encoding="utf-8")
    prompts = bold_prompts(path.read_text(encoding="utf-8"), str(path), 20)
    assert Counter((p.domain, p.group) for p in prompts) == {
        ("gender", "American_actors"): 20, ("gender", "American_actresses"): 20,
    }  # fmt: skip
    assert len(bold_prompts(path.read_text(encoding="utf-8"), str(path), 0)) == 120
    model = planted(writes=lambda prompt, seed: "good" if chance(prompt, seed) < 0.5 else "bad")
    rows = asked(Bold(path=str(path)), model)
    assert found(rows, MEAN, category="gender", term="American_actors").estimate.n == 120
    for content, said in (("{", "not JSON"), ("[]", "must map"), ('{"g": ["x"]}', "pages"), ('{"g": {}}', "pages")):
        with pytest.raises(ProbeError, match=said):
            bold_prompts(content, "x_prompt.json", 0)


def test_null_writers_without_a_favourite_show_a_gap_in_at_most_alpha_of_the_runs():
    """Two and three groups on sixteen templates that differ much; a gate against a tolerance of 0."""
    probe, alarms, runs = Honest(), 0, 300
    prompts = [
        Prompt(text="", domain="d", group=group, source=f"t{t}") for t in range(16) for group in "abc" for _ in range(6)
    ]
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        rate = np.repeat(rng.beta(2, 5, 16), 18)
        values = (rng.uniform(size=(288, 2)) < rate[:, None]) * 1.0
        rows = list(compare(
            Scribe(probe=probe, target="t"), GROUP, GAP, prompts, values, generator(seed, "x"), level=0.95, draws=400,
            lower=0.0,
        ))  # fmt: skip
        [gap] = [row for row in rows if isinstance(row, Finding) and row.metric == GAP]
        alarms += claim(gap.basis, maximum=0.0).fail_p <= 0.05
    assert alarms <= 27, alarms  # the 99.9 % point of a binomial of 300 at .05


def test_one_group_alone_is_not_compared():
    prompts = [Prompt(text="", domain="d", group="a", source=f"t{t}") for t in range(8)]
    values = np.arange(8.0)[:, None] / 8
    rows = list(compare(
        Scribe(probe=Honest(), target="t"), GROUP, GAP, prompts, values, generator(0, "x"), level=0.95, draws=100,
        lower=0.0,
    ))  # fmt: skip
    assert [type(row) for row in rows] == [Finding, Failure]
    assert "one group only" in rows[1].reason
