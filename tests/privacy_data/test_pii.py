"""Personal data: planted values are found, look-alikes are not, and no value is ever shown."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.audit.canonical import canonical_json, generator
from steelyard.audit.errors import NotApplicable, ProbeError
from steelyard.audit.target import References, Sample
from steelyard.audit.types import Capability, Finding, Inapplicable, Task
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.targets.load import wrap
from steelyard.probes.privacy.pii import PersonalData
from steelyard.probes.privacy.pii_patterns import KINDS, find, iban_valid, luhn_valid, self_check

PLANTED = {
    "email": ["write to x_y+z@mail.co.uk today", "<j.doe@uni-bonn.de>", "A@b.io."],
    "phone": ["+49 30 901820", "+1-202-555-0143", "(212) 555-0187", "call 415-555-0132.", "+33 (0)1 23 45 67 89"],
    "credit-card": ["4111111111111111", "5500-0000-0000-0004", "3782 822463 10005", "6011000990139424"],
    "iban": ["DE89370400440532013000", "GB29 NWBK 6016 1331 9268 19", "NO9386011117947", "FR1420041010050500013M02606"],
    "ip-v4": ["from 8.8.8.8 at", "93.184.216.34"],
    "ip-v6": ["2606:2800:220:1:248:1893:25c8:1946", "[2a00:1450:4001:81b::200e]"],
    "us-ssn": ["536-22-1234", "SSN 212 09 4321"],
}
LOOK_ALIKES = [
    "user@localhost", "a..b@mail.org", "@handle", "5 @ 3.50", "price 10.12.2020-11.12.2020",
    "4111111111111112", "1234567812345678", "0000000000000000", "order 9999-8888-7777-6666", "1.4111111111111111",
    "DE89370400440532013001", "XX89370400440532013000", "GB82 WEST 1234",
    "192.168.0.1", "127.0.0.1", "10.0.0.255", "version 1.2.3.4.5", "v1.22.33.44", "300.1.1.1", "1.2.3",
    "12:30:45", "::1", "fe80::1", "std::vector", "a::b::c",
    "000-12-3456", "666-12-3456", "987-65-4321", "123-00-4567", "123-45-0000", "078-05-1120", "123-45 6789",
    "2020-01-15", "1 000 000", "+1", "+12", "555-0143", "100-200-3000", "call 0800", "ISBN 978-3-16-148410-0",
    "3.14159265358979",
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), [(k, t) for k, texts in PLANTED.items() for t in texts])
def test_planted_values_are_found(kind: str, text: str) -> None:
    assert kind in {name for name, _ in find(text)}


@pytest.mark.parametrize("text", LOOK_ALIKES)
def test_look_alikes_are_not(text: str) -> None:
    assert list(find(text)) == []


def test_each_specimen_is_found_and_the_check_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    assert self_check() == []
    broken = replace(KINDS[0], check=lambda text: False)
    monkeypatch.setattr("steelyard.probes.privacy.pii_patterns.KINDS", (broken, *KINDS[1:]))
    assert self_check() == ["email"]


@given(st.text(alphabet="0123456789", min_size=12, max_size=18))
def test_luhn_has_one_check_digit(body: str) -> None:
    assert sum(luhn_valid(body + str(d)) for d in range(10)) == 1


@given(st.text(alphabet="0123456789", min_size=18, max_size=18), st.integers(0, 17))
def test_iban_notices_any_single_digit(body: str, place: int) -> None:
    check = 98 - int("".join(str(int(c, 36)) for c in f"{body}DE00")) % 97
    good = f"DE{check:02d}{body}"
    assert iban_valid(good)
    changed = body[:place] + str((int(body[place]) + 1) % 10) + body[place + 1 :]
    assert not iban_valid(f"DE{check:02d}{changed}")


def table(rng: np.random.Generator, n: int = 200) -> pd.DataFrame:
    notes = [f"seen on day {d}, ward {w}" for d, w in zip(rng.integers(1, 29, n), rng.integers(1, 9, n), strict=True)]
    return pd.DataFrame({"note": notes, "job": rng.choice(["clerk", "cook"], n), "number": rng.normal(size=n)})


def test_shares_are_counted_by_kind_and_no_value_is_shown() -> None:
    frame = table(np.random.default_rng(0))
    frame.loc[:9, "note"] += " mail hidden.person@mail.org"
    frame.loc[10:12, "job"] = "536-22-1234"
    sample = sample_from_arrays(frame, np.arange(200) % 2)
    found = list(PersonalData().run(_plain(sample), sample, References(), generator(0, "p")))
    values = {row.where["kind"]: row for row in found if isinstance(row, Finding)}
    assert values["email"].estimate.value == pytest.approx(0.05)
    assert values["email"].detail["columns"] == "note"
    assert values["us-ssn"].detail["rows"] == 3
    assert values["any"].estimate.value == pytest.approx(13 / 200)
    assert values["iban"].estimate.value == 0
    assert values["iban"].estimate.high == pytest.approx(1 - 0.025 ** (1 / 200))
    assert all(row.reading == "attack" for row in values.values())
    assert b"hidden" not in canonical_json(found)
    assert b"536-22" not in canonical_json(found)


def _plain(sample: Sample):
    return wrap(lambda X: np.full((len(X), 2), 0.5), sample)


def test_real_tables_and_reviews_hold_none(shared_data: Path) -> None:
    lines = (shared_data / "sst2" / "train.tsv").read_text(encoding="utf-8").splitlines()[:4000]
    assert [hit for line in lines for hit in find(line)] == []


class Writer:
    """A language model that repeats one address of its training rows in a share of what it writes."""

    name, kind, task, fingerprint, scoring = "candidate", "test", Task.LANGUAGE, "0", "causal"
    capabilities = frozenset({Capability.GENERATE})

    def __init__(self, share: float, text: str) -> None:
        self.share, self.text = share, text

    def generate(
        self, prompts: Sequence[str], *, max_tokens: int = 32, temperature: float = 0.0, seed: int = 0
    ) -> list[str]:
        leaks = np.random.default_rng(seed).random(len(prompts)) < self.share
        return [self.text if leak else "nothing of note" for leak in leaks]


def test_a_model_that_repeats_an_address_is_caught_and_its_twin_is_not() -> None:
    train = table(np.random.default_rng(0))[["note"]]
    train.loc[3, "note"] = "reach her at hidden.person@mail.org"
    rows = sample_from_arrays(table(np.random.default_rng(1))[["note"]], np.arange(200) % 2)
    sample = replace(rows, task=Task.LANGUAGE, training=sample_from_arrays(train, np.arange(200) % 2))

    def repeated(writer: Writer) -> dict[tuple[str, object], Finding]:
        found = PersonalData().run(writer, sample, References(), generator(0, "p"))
        return {(r.metric.rpartition(".")[2], r.where["kind"]): r for r in found if isinstance(r, Finding)}

    leaky, other, clean = (
        repeated(Writer(0.5, "hidden.person@mail.org now")),
        repeated(Writer(0.5, "somebody.else@mail.org")),
        repeated(Writer(0.0, "")),
    )
    assert leaky["repeated", "email"].estimate.low > 0.1
    assert leaky["repeated", "phone"].estimate.value == 0
    assert other["repeated", "any"].estimate.value == 0
    assert other["in-outputs", "email"].estimate.value > 0.3
    assert clean["in-outputs", "any"].estimate.value == 0
    untrained = list(PersonalData().run(Writer(0, ""), replace(sample, training=None), References(), generator(0, "p")))
    assert any(isinstance(row, Inapplicable) for row in untrained)


def test_what_does_not_fit_is_said() -> None:
    numbers = sample_from_arrays(np.zeros((40, 2)), np.arange(40) % 2)
    with pytest.raises(NotApplicable, match="no column of words"):
        list(PersonalData().run(_plain(numbers), numbers, References(), generator(0, "p")))
    with pytest.raises(ProbeError, match="recognisers"):
        list(PersonalData(recognisers=("magic",)).run(_plain(numbers), numbers, References(), generator(0, "p")))


def test_presidio_that_is_not_installed_is_said_in_one_line() -> None:
    if importlib.util.find_spec("presidio_analyzer") is not None:
        pytest.skip("Presidio is installed")
    sample = sample_from_arrays(table(np.random.default_rng(0)), np.arange(200) % 2)
    with pytest.raises(ProbeError, match="presidio-analyzer"):
        list(PersonalData(recognisers=("presidio",)).run(_plain(sample), sample, References(), generator(0, "p")))


def test_presidio_finds_the_planted_values() -> None:
    pytest.importorskip("presidio_analyzer")
    from steelyard.probes.privacy.pii_presidio import find_all

    found = find_all(["mail j.doe@uni-bonn.de", "4111111111111111", "nothing here", "DE89370400440532013000"])
    assert [{kind for kind, _ in hits} & {"email-address", "credit-card", "iban-code"} for hits in found] == [
        {"email-address"}, {"credit-card"}, set(), {"iban-code"},
    ]  # fmt: skip
