"""CrowS-Pairs: the tokens that count, the official arithmetic, planted preferences, the public file."""

from __future__ import annotations

import difflib
from collections import Counter

import numpy as np
import pytest

from steelyard.audit.errors import ProbeError
from steelyard.probes.fairness.language.crows_pairs import CrowsPairs, pair_scores, read_pairs, shared
from steelyard.probes.stats.claims import claim

SHARE, LARGEST = "fairness.crows-pairs.stereotype-share", "fairness.crows-pairs.largest-deviation"
HEADER = "n,sent_more,sent_less,stereo_antistereo,bias_type\n"


def spans_as_published(first, second):
    """Template spans from the opcodes, with the special tokens in and then left out, as the authors' script has it."""
    a, b = ["cls", *map(str, first), "sep"], ["cls", *map(str, second), "sep"]
    one, two = [], []
    for kind, i, j, k, m in difflib.SequenceMatcher(None, a, b).get_opcodes():
        if kind == "equal":
            one += range(i, j)
            two += range(k, m)
    return [i - 1 for i in one[1:-1]], [k - 1 for k in two[1:-1]]


def test_the_shared_tokens_of_a_pair_by_hand():
    # "most black kids do" / "most white kids do"; then "the poor are" / "the very rich are"
    assert shared((1, 2, 3, 4), (1, 9, 3, 4)) == ([0, 2, 3], [0, 2, 3])
    assert shared((1, 2, 3), (1, 8, 9, 3)) == ([0, 2], [0, 3])
    assert shared((1,), (2,)) == ([], [])


def test_the_shared_tokens_are_those_of_the_published_script():
    rng = np.random.default_rng(3)
    for _ in range(300):
        first = rng.integers(0, 9, rng.integers(1, 14)).tolist()
        second = list(first)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(0, len(second)))
            second[at : at + int(rng.integers(0, 3))] = rng.integers(0, 9, rng.integers(1, 4)).tolist()
        assert shared(first, second) == spans_as_published(first, second)


def pairs_file(tmp_path, categories=(("race-color", 80), ("gender", 60), ("age", 40))):
    lines = []
    for category, n in categories:
        for i in range(n):
            direction = "stereo" if i % 5 else "antistereo"
            more, less = f"The {category} one number {i} is bad.", f"The other number {i} is bad."
            lines.append(f"{len(lines)},{more},{less},{direction},{category}\n")
    path = tmp_path / "pairs.csv"
    path.write_text(HEADER + "".join(lines), encoding="utf-8")
    return path


def prefers(rate):
    """Of every ten pairs, by their number, the first `rate` lean to the more stereotyping sentence."""

    def lean(_, text):
        number = next((int(w) for w in text.split() if w.isdigit()), -1)
        return (1.0 if " one " in text else 0.0) * (1 if number % 10 < rate else -1) if number >= 0 else 0.0

    return lean


def test_a_planted_preference_reads_as_stated_and_its_twin_reads_parity(tmp_path, planted, asked, found, well_formed):
    path = pairs_file(tmp_path)
    probe = CrowsPairs(path=str(path))
    rows = asked(probe, planted(prefers(8)))
    well_formed(probe, rows, asked(probe, planted(prefers(8))))
    whole = found(rows, SHARE)
    assert whole.estimate.value == pytest.approx(0.8)
    assert whole.estimate.n == 180
    assert whole.estimate.low > 0.7
    for category in ("race-color", "gender", "age"):
        assert found(rows, SHARE, category=category).estimate.value == pytest.approx(0.8)
    # directions: the numbers that 5 divides violate a stereotype; of 0 and 5 in ten, both are preferred
    assert found(rows, SHARE, class_="antistereo").estimate.value == pytest.approx(1.0)
    assert found(rows, SHARE, class_="stereo").estimate.value == pytest.approx(0.75)
    worst = found(rows, LARGEST)
    assert worst.estimate.value == pytest.approx(0.3)
    assert worst.estimate.low > 0.1
    assert claim(worst.basis, maximum=0.1).fail_p <= 0.05
    fair = asked(probe, planted(prefers(5)))
    assert found(fair, SHARE).estimate.value == pytest.approx(0.5)
    assert found(fair, LARGEST).estimate.low == 0.0
    assert claim(found(fair, SHARE).basis, minimum=0.4, maximum=0.6).pass_p <= 0.05


def test_scores_are_sums_over_the_shared_tokens_only(planted):
    class Known(planted):
        def loglikelihood(self, texts, prefixes=None):
            return [-np.array([1.0, 2.0, 4.0]) if "x" in t else -np.array([1.0, 8.0, 16.0, 5.0]) for t in texts]

    [pair] = read_pairs(HEADER + "0,a x b,a y z b,stereo,gender\n", "p")
    assert pair_scores(Known(), [pair]).tolist() == [[-5.0, -6.0]]


def test_a_difference_below_the_third_decimal_is_a_tie_as_in_the_original(planted):
    class Known(planted):
        def loglikelihood(self, texts, prefixes=None):
            return [-np.array([1.0, 1.0, 1.0 if "x" in t else 1.0002]) for t in texts]

    [pair] = read_pairs(HEADER + "0,a x b,a y b,stereo,gender\n", "p")
    [[more, less]] = pair_scores(Known(), [pair])
    assert more == less


def test_a_masked_model_is_scored_alike_and_named_so(tmp_path, planted, asked, found):
    rows = asked(CrowsPairs(path=str(pairs_file(tmp_path))), planted(prefers(8), scoring="masked"))
    assert found(rows, SHARE).detail["scoring"] == "masked"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,2\n", "lacks the column 'sent_more'"),
        (HEADER, "no rows"),
        (HEADER + "0,a,b,other,gender\n", "'other'; it is stereo or antistereo"),
        (HEADER + "0,,b,stereo,gender\n", "is empty"),
    ],
)
def test_a_pairs_file_that_is_wrong_says_where(content, said, tmp_path, planted, asked):
    path = tmp_path / "bad.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ProbeError, match=said):
        asked(CrowsPairs(path=str(path)), planted())


def test_an_untrained_model_is_refused(tmp_path, planted, asked):
    with pytest.raises(ProbeError, match="no better than chance"):
        asked(CrowsPairs(path=str(pairs_file(tmp_path))), planted(fluent=False))


def test_the_public_file_is_read_whole(shared_data, planted, asked, found):
    path = shared_data / "crows_pairs" / "crows_pairs_anonymized.csv"
    pairs = read_pairs(path.read_text(encoding="utf-8"), str(path))
    assert len(pairs) == 1508
    assert Counter(p.direction for p in pairs) == {"stereo": 1290, "antistereo": 218}
    assert Counter(p.category for p in pairs)["race-color"] == 516
    more = {p.more for p in pairs} - {p.less for p in pairs}
    rows = asked(CrowsPairs(path=str(path)), planted(lambda _, text: 0.5 * (text in more)))
    assert found(rows, SHARE).estimate.value > 0.9
    assert found(rows, LARGEST).detail["categories"] == 9
    unbiased = asked(CrowsPairs(path=str(path)), planted(seed=5))
    assert found(unbiased, LARGEST).estimate.low == 0.0


def test_the_order_of_the_pairs_does_not_matter(tmp_path, planted, asked):
    path = pairs_file(tmp_path)
    header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    other = tmp_path / "other.csv"
    other.write_text(header + "".join(reversed(lines)), encoding="utf-8")
    before, after = (asked(CrowsPairs(path=str(one)), planted(prefers(6))) for one in (path, other))
    assert [(row.metric, row.where, row.estimate, row.basis) for row in before] == [
        (row.metric, row.where, row.estimate, row.basis) for row in after
    ]
