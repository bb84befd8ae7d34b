"""The stage `pii` masks personal data: e-mail addresses, phone, card and IP numbers.

"pii" masks all kinds, "pii:email,card" some. A mask is "[EMAIL]", "[PHONE]", "[IP]" or
"[CARD]".

email   a local part of at most 64 characters and a host with a dot
ip      a valid address of version 4 or 6, which a software version may look like
card    13 to 19 digits with the right check digit (Luhn, ISO/IEC 7812)
phone   "+" and 8 to 15 digits; 3-3-4 digits of North America; 9 to 11 digits that start
        with 0 and have separators; 11 digits of a Chinese mobile phone

A rule cannot know what a number is: it masks some that are none of these, and it misses
numbers in other forms, names and postal addresses.
"""

import ipaddress
import re
from collections.abc import Callable

from zoo.data.stages.stage import Maker, Stage, names

# Each starts where no letter stands before, so that a long word is read once.
_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])"
)
_IP_4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\w)")
_IP_6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:|::?)[0-9A-Fa-f:.]{2,45}(?![\w:])")
_DIGITS = re.compile(r"(?<![\w.+-])\+?\(?\d(?:[ ().\-/]{0,2}\d){6,18}(?![\w-]|\.\d)")
_ANY_DIGIT = re.compile(r"\d")
_AMERICAN = re.compile(r"(?:1[ .-])?\(?[2-9]\d\d\)?[ .-]{1,2}\d{3}[ .-]\d{4}")
_NATIONAL = re.compile(r"\(?0\d{1,4}\)?[ \-/]{1,2}\d{2,}(?:[ -]\d{2,4})*")
_CHINESE = re.compile(r"1[3-9]\d(?:[ -]?\d{4}){2}")


def _email(text: str) -> str:
    """Masks e-mail addresses."""
    return _EMAIL.sub("[EMAIL]", text) if "@" in text else text


def _ip(text: str) -> str:
    """Masks IP addresses."""
    if "." in text:
        text = _IP_4.sub(_masked_ip, text)
    return _IP_6.sub(_masked_ip, text) if ":" in text else text


def _masked_ip(match: re.Match[str]) -> str:
    """The mask, or the text where it is no address."""
    found = match[0].rstrip(".:") if not match[0].endswith("::") else match[0]
    try:
        ipaddress.ip_address(found)
    except ValueError:
        return match[0]
    return "[IP]" + match[0][len(found) :]


def _card(text: str) -> str:
    """Masks card numbers."""
    return _DIGITS.sub(lambda m: "[CARD]" if _is_card(m[0]) else m[0], text)


def _phone(text: str) -> str:
    """Masks phone numbers."""
    return _DIGITS.sub(lambda m: "[PHONE]" if _is_phone(m[0]) else m[0], text)


def _is_card(found: str) -> bool:
    """Whether digits, alone or in groups, have the right check digit."""
    digits = [int(c) for c in found if c.isdigit()]
    if not 13 <= len(digits) <= 19 or set(found) & set("+()/.") or not any(digits):
        return False
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_phone(found: str) -> bool:
    """Whether digits with separators have the form of a phone number."""
    size = sum(map(str.isdigit, found))
    if found[0] == "+":
        return 8 <= size <= 15
    if _AMERICAN.fullmatch(found) or _CHINESE.fullmatch(found):
        return True
    return 9 <= size <= 11 and bool(_NATIONAL.fullmatch(found))


# In this order: an address may hold a number, and a card's number look like a phone's.
_KINDS: dict[str, Callable[[str], str]] = {
    "email": _email,
    "ip": _ip,
    "card": _card,
    "phone": _phone,
}


def _pii(argument: str) -> Stage:
    """The stage; `argument` lists kinds, "" is all."""
    wanted = names(argument, _KINDS, "kind") if argument else list(_KINDS)

    def run(text: str) -> str:
        digits = bool(_ANY_DIGIT.search(text))
        for kind, mask in _KINDS.items():
            if kind in wanted and (digits or kind in ("email", "ip")):
                text = mask(text)
        return text

    return run


STAGES: dict[str, Maker] = {"pii": _pii}
