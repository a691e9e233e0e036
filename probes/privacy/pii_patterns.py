"""Recognisers of personal data that have a fixed form: a pattern each, and a check that look-alikes fail."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["KINDS", "Kind", "find", "iban_valid", "luhn_valid", "self_check"]

# Of the countries in the SWIFT registry that are met most: how long an IBAN is.
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AT": 20, "BE": 16, "BG": 22, "CH": 21, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "EE": 20,
    "ES": 24, "FI": 18, "FR": 27, "GB": 22, "GR": 27, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IS": 26, "IT": 27,
    "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MC": 27, "MT": 31, "NL": 18, "NO": 15, "PL": 28, "PT": 25, "RO": 24,
    "SA": 24, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "TR": 26, "UA": 29,
}  # fmt: skip
# Card numbers begin with an issuer's range: Visa, Mastercard, American Express, Discover, JCB, Diners.
_CARD = re.compile(
    r"4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3[47]|6011|65|64[4-9]|35(?:2[89]|[3-8])|3(?:0[0-5]|[68])"
)
_SPECIMEN_SSN = {"078051120", "219099999"}  # printed in advertisements, and never anybody's


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind: where it may stand (`pattern`), what settles it (`check`), a made-up `specimen` that must be found."""

    name: str
    pattern: re.Pattern[str]
    check: Callable[[str], bool]
    specimen: str


def _digits(text: str) -> str:
    return "".join(sign for sign in text if sign.isdigit())


def luhn_valid(digits: str) -> bool:
    """Every second digit from the right doubled, nines cast out, the sum a multiple of 10 (ISO/IEC 7812-1)."""
    doubled = [int(d) * (1 + place % 2) for place, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def iban_valid(text: str) -> bool:
    """Length of its country, and the number mod 97 is 1 with the first four signs moved to the end (ISO 13616)."""
    plain = text.replace(" ", "").upper()
    if IBAN_LENGTHS.get(plain[:2]) != len(plain):
        return False
    return int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1


def _card_valid(text: str) -> bool:
    digits = _digits(text)
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and bool(_CARD.match(digits)) and luhn_valid(digits)


def _ssn_valid(text: str) -> bool:
    digits = _digits(text)
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    issued = area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"
    return issued and digits not in _SPECIMEN_SSN


def _phone_valid(text: str) -> bool:
    return 8 <= len(_digits(text)) <= 15 and len(set(_digits(text))) > 2


def _address_valid(text: str) -> bool:
    """A public address: private, loop-back and documentation ranges lead to nobody."""
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False


def _mail_valid(text: str) -> bool:
    local, _, domain = text.rpartition("@")
    return ".." not in text and not local.endswith(".") and len(domain) <= 253


_ALNUM4 = r"[A-Z0-9]{4}"
KINDS: tuple[Kind, ...] = (
    Kind(
        name="email",
        pattern=re.compile(
            r"(?<![\w.+-])[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![\w-])"
        ),
        check=_mail_valid,
        specimen="ada.byron@post.example.org",
    ),
    Kind(
        name="phone",  # +49 30 1234567, +1-202-555-0143, (202) 555-0143, 202-555-0143
        pattern=re.compile(
            r"(?<![\w.+-])(?:\+[1-9]\d{0,2}(?:[ .-]?\(?\d{1,4}\)?){2,5}"
            r"|(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[.-])[2-9]\d{2}[.-]\d{4})(?![\w-])"
        ),
        check=_phone_valid,
        specimen="+44 20 7946 0958",
    ),
    Kind(
        name="credit-card",
        pattern=re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])"),
        check=_card_valid,
        specimen="4111 1111 1111 1111",
    ),
    Kind(
        name="iban",
        pattern=re.compile(
            rf"(?<!\w)[A-Z]{{2}}\d{{2}}(?:(?: {_ALNUM4}){{2,7}}(?: [A-Z0-9]{{1,3}})?|[A-Z0-9]{{11,30}})(?!\w)"
        ),
        check=iban_valid,
        specimen="GB82 WEST 1234 5698 7654 32",
    ),
    Kind(
        name="ip-v4",
        pattern=re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)"),
        check=_address_valid,
        specimen="8.8.4.4",
    ),
    Kind(
        name="ip-v6",
        pattern=re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])"),
        check=_address_valid,
        specimen="2a00:1450:4001:0800::200e",
    ),
    Kind(
        name="us-ssn",
        pattern=re.compile(r"(?<![\w.-])\d{3}([ -])\d{2}\1\d{4}(?![\w-])"),
        check=_ssn_valid,
        specimen="536-22-1234",
    ),
)


def find(text: str) -> Iterator[tuple[str, str]]:
    """(kind, value) of everything found; a value with spaces and dashes taken out and in lower case, for comparison."""
    for kind in KINDS:
        for hit in kind.pattern.finditer(text):
            if kind.check(hit.group()):
                yield kind.name, re.sub(r"[ ()-]", "", hit.group()).lower()


def self_check() -> list[str]:
    """The kinds whose specimen is not found: none, or the recognisers are broken."""
    return [k.name for k in KINDS if k.name not in {name for name, _ in find(f"Of her we have {k.specimen}, no more.")}]
