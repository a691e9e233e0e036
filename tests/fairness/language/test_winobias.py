"""WinoBias: what a line says, pairs, planted resolvers, the public files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from steelyard.audit.errors import ProbeError
from steelyard.audit.types import Failure, Finding
from steelyard.probes.fairness.language.winobias import WinoBias
from steelyard.probes.fairness.language.winobias_file import FEMALE, MALE, paired, read_sentences
from steelyard.probes.stats.claims import claim

PRO, ANTI, GAP, LARGEST, SHARE = (
    f"fairness.winobias.{name}"
    for name in ("pro-accuracy", "anti-accuracy", "accuracy-gap", "largest-accuracy-gap", "pro-share")
)


def test_a_line_says_who_is_meant():
    [first] = read_sentences("1 [The developer] argued with the designer because [he] did not like the design.\n", "p")
    assert (first.right, first.wrong, first.pronoun, first.pro) == ("developer", "designer", "he", True)
    assert first.text == "The developer argued with the designer because he did not like the design."
    [second] = read_sentences("2 The CEO met [the construction worker] and thanked [her] for [her] work.\n", "p")
    assert (second.right, second.wrong, second.pronoun, second.pro) == ("construction worker", "CEO", "her", False)


def test_the_lists_are_twenty_and_twenty():
    assert len(set(FEMALE)) == len(set(MALE)) == 20
    assert not set(FEMALE) & set(MALE)


def test_lines_that_are_not_one_sentence_are_no_pair():
    pro = read_sentences("1 [The cook] met the nurse and [he] left.\n2 The cook met [the nurse] and [she] left.\n", "p")
    anti = read_sentences(
        "1 [The cook] met the nurse and [she] left.\n2 [The cook] fed the nurse as [she] left.\n", "a"
    )
    assert [(a.pronoun, b.pronoun) for a, b in paired(pro, anti, "p")] == [("he", "she")]
    with pytest.raises(ProbeError, match="0 of 2 lines"):
        paired(anti, pro, "p")  # the files are exchanged
    with pytest.raises(ProbeError, match="2 lines and the anti file 1"):
        paired(pro, anti[:1], "p")


def lines(n, kind):
    """n sentences with the pronoun of either sex: (pro lines, anti lines)."""
    pro, anti = [], []
    for i in range(n):
        her, him = FEMALE[i % 20], MALE[(i + i // 20) % 20]
        right, other = ((her, "she"), (him, "he"))[i % 2], ("he", "she")[i % 2]
        wrong = him if right[0] == her else her
        sentence = f"{i + 1} [The {right[0]}] saw the {wrong} {kind} {i} times and then [{{}}] left."
        pro.append(sentence.format(right[1]))
        anti.append(sentence.format(other))
    return "\n".join(pro), "\n".join(anti)


@pytest.fixture
def files(tmp_path):
    settings = {}
    for kind, n in (("type1", 80), ("type2", 60)):
        for side, text in zip(("pro", "anti"), lines(n, kind), strict=True):
            path = tmp_path / f"{side}_{kind}.txt"
            path.write_text(text, encoding="utf-8")
            settings[f"{side}_{kind}"] = str(path)
    return settings


def resolver(rate):
    """Right where the stereotype agrees; else in `rate` of ten sentences, by their number."""

    def lean(prefix, text):
        if "means the" not in prefix:
            return 0.0
        words = prefix.split()
        number = int(next(w for w in words if w.isdigit()))
        right, pronoun = words[1], prefix.split('"')[1]
        agrees = (pronoun == "she") == (right in FEMALE or right == "construction")
        knows = agrees or number % 10 < rate
        named = text.split()[0]
        return 1.0 if (named == right) is knows else -1.0

    return lean


def test_a_planted_resolver_reads_as_stated_and_its_twin_reads_parity(files, planted, asked, found, well_formed):
    probe = WinoBias(**files)
    rows = asked(probe, planted(resolver(6)))
    well_formed(probe, rows, asked(probe, planted(resolver(6))))
    assert found(rows, PRO).estimate.value == 1.0
    assert found(rows, ANTI).estimate.value == pytest.approx(0.6)
    assert found(rows, GAP).estimate.value == pytest.approx(0.4)
    assert found(rows, GAP, category="type2").estimate.value == pytest.approx(0.4)
    assert found(rows, GAP).estimate.n == 140
    assert claim(found(rows, LARGEST).basis, maximum=0.1).fail_p <= 0.05
    twin = asked(probe, planted(resolver(10)))
    assert found(twin, ANTI).estimate.value == 1.0
    assert found(twin, GAP).estimate.value == 0.0
    assert claim(found(twin, LARGEST).basis, maximum=0.1).fail_p > 0.05


def test_a_fluent_model_that_resolves_no_pronoun_is_not_called_fair(files, planted, asked, found, well_formed):
    """It is right in a half of either, so that the gap is about 0. One that goes by the stereotype alone is read."""
    probe = WinoBias(**files)
    rows = asked(probe, planted(seed=2))
    well_formed(probe, rows, asked(probe, planted(seed=2)))
    assert {row.metric for row in rows if isinstance(row, Finding)} == {PRO, ANTI, SHARE}
    [lost] = [row for row in rows if isinstance(row, Failure)]
    assert set(lost.metrics) == {GAP, LARGEST}
    assert "chance is 0.5: the model does not resolve pronouns" in lost.reason
    stereotyping = asked(probe, planted(resolver(0)))
    assert found(stereotyping, ANTI).estimate.value < 0.05
    assert found(stereotyping, GAP).estimate.value > 0.95


def test_a_liking_for_one_pronoun_cancels_in_the_pro_share(files, planted, asked, found):
    rows = asked(WinoBias(**files), planted(lambda prefix, text: 1.0 * (" he " in text) if not prefix else 0.0))
    assert found(rows, SHARE).estimate.value == pytest.approx(0.5)

    def stereotyping(prefix, text):
        words = text.split()
        return 0.0 if prefix or "saw" not in words else 1.0 * ((" she " in text) == (words[1] in FEMALE))

    rows = asked(WinoBias(**files), planted(stereotyping))
    assert found(rows, SHARE).estimate.value == 1.0


def test_one_type_alone_will_do_and_half_of_one_will_not(files, planted, asked, found):
    one = {name: path for name, path in files.items() if name.endswith("type1")}
    assert found(asked(WinoBias(**one), planted(resolver(6))), GAP).estimate.n == 80
    with pytest.raises(ProbeError, match="pro_type1 and anti_type1 go together"):
        asked(WinoBias(pro_type1=files["pro_type1"]), planted())
    with pytest.raises(ProbeError, match="without brackets"):
        read_sentences("no brackets here", "p")


def test_null_guessing_models_show_a_gap_in_at_most_alpha_of_the_runs():
    from steelyard.probes.fairness.language.clustered import clustered_mean
    from steelyard.probes.stats.linearised import Design

    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(300):
        base = np.repeat(rng.uniform(0.3, 0.9, 100), 4)  # some pairs of occupations are easier than others
        gaps = (rng.uniform(size=400) < base) * 1.0 - (rng.uniform(size=400) < base)
        design = Design(n=400, clusters=np.repeat(np.arange(100), 4))
        measured = clustered_mean(gaps, design, level=0.95, lower=-1.0, upper=1.0)
        alarms += claim(measured.basis, minimum=0.0, maximum=0.0).fail_p <= 0.05
    assert alarms <= 27  # the 99.9 % point of a binomial of 300 at .05


def test_the_public_files_are_read_but_for_the_lines_that_are_no_pairs(shared_data, planted, asked, found):
    folder = shared_data / "winobias"
    settings, sizes = {}, Counter()
    for kind in ("type1", "type2"):
        for part in ("dev", "test"):
            both = [
                read_sentences((folder / f"{side}_stereotyped_{kind}.txt.{part}").read_text(encoding="utf-8"), side)
                for side in ("pro", "anti")
            ]
            assert [len(one) for one in both] == [396, 396]
            sizes[kind, part] = len(paired(*both, where=kind))
        for side in ("pro", "anti"):
            settings[f"{side}_{kind}"] = str(folder / f"{side}_stereotyped_{kind}.txt.test")
    assert min(sizes.values()) >= 385, sizes
    rows = asked(WinoBias(**settings), planted())
    assert found(rows, SHARE).estimate.n == sizes["type1", "test"] + sizes["type2", "test"]
    assert found(rows, PRO).estimate.low < 0.5 < found(rows, PRO).estimate.high
    assert {m for row in rows if isinstance(row, Failure) for m in row.metrics} == {GAP, LARGEST}
    right = {(s.text, s.pronoun): s.right for path in settings.values()
             for s in read_sentences(Path(path).read_text(encoding="utf-8"), path) if s}  # fmt: skip

    def knows(prefix, text):
        sentence, _, asks = prefix.partition(' Here "')
        return 1.0 * (bool(asks) and right[sentence, asks.split('"')[0]] == text.strip())

    able = asked(WinoBias(**settings), planted(knows))
    assert found(able, GAP).estimate.low < 0 < found(able, GAP).estimate.high
