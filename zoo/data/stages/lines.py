"""Stages that look at lines by themselves.

boilerplate  removes the lines of menus, footers and notices of a web page
bad_lines    removes lines of RefinedWeb's list (Penedo et al. 2023, arXiv:2306.01116,
             appendix G.2), and drops a text if they are more than 5 % of its words

A line of RefinedWeb's list is mostly upper case, only digits and signs, a counter such
as "3 likes", or a single word. The phrases of `boilerplate` are English, German,
French, Spanish, Chinese, Japanese and Korean.
"""

import dataclasses
import re

from zoo.data.stages.kinds import count, kinds
from zoo.data.stages.stage import Dropped, Maker, Stage, options, plain

_LONGEST = 200  # characters of a line that may be boilerplate
_MENU = re.compile(r"\s*[|\u00b7\u2022\u203a\u00bb\u2502\uff5c]\s*")
_MENU_ITEMS, _MENU_WORDS = 3, 3
_START = re.compile(
    r"(?:sign[ -]?(?:in|up)|log[ -]?(?:in|out)|subscribe|skip to|share (?:this|on)|"
    r"follow us|read more|show more|load more|click here|back to top|"
    r"all rights reserved|copyright|\u00a9|\(c\)|powered by|"
    r"previous (?:post|article)|next (?:post|article)|"
    r"leave a (?:reply|comment)|anmelden|weiterlesen|alle rechte vorbehalten|"
    r"lire la suite|tous droits r\u00e9serv\u00e9s|leer m\u00e1s|"
    r"todos los derechos reservados|"
    r"\u7248\u6743\u6240\u6709|\u7248\u6b0a\u6240\u6709|\u9605\u8bfb\u5168\u6587|"
    r"\u70b9\u51fb\u8fd9\u91cc|\u4e0a\u4e00\u7bc7|\u4e0b\u4e00\u7bc7|"
    r"\u7d9a\u304d\u3092\u8aad\u3080|\u30ed\u30b0\u30a4\u30f3|"
    r"\ub85c\uadf8\uc778|\ub354 ?\ubcf4\uae30)",
    re.IGNORECASE,
)
_INSIDE = re.compile(
    r"all rights reserved|terms of (?:use|service)|privacy policy|cookie policy|"
    r"(?:uses?|use of|accept(?: all)?) cookies|enable javascript|items in cart|"
    r"alle rechte vorbehalten|verwende[nt] cookies|impressum|"
    r"\u7248\u6743\u6240\u6709|\u9690\u79c1\u653f\u7b56|\u514d\u8d23\u58f0\u660e",
    re.IGNORECASE,
)
_START_WORDS = 10  # of a line with a phrase at its start
_COUNTER = re.compile(
    r"\d[\d.,]*\s?[km]?\s+(?:likes?|shares?|comments?|retweets?|reposts?|views?|"
    r"followers?|points?|replies|reply|votes?)",
    re.IGNORECASE,
)


def boilerplate(text: str) -> str:
    """Removes the lines of menus, footers and notices."""
    return "\n".join(
        [line for line in text.split("\n") if not _is_boilerplate(line)]
    ).strip("\n")


def _is_boilerplate(line: str) -> bool:
    """Whether a line is of a page's frame and not of its content."""
    line = line.strip()
    if not line or len(line) > _LONGEST:
        return False
    if _INSIDE.search(line):
        return True
    if _START.match(line):
        return count(line).words <= _START_WORDS
    items = [item for item in _MENU.split(line) if item]
    return len(items) >= _MENU_ITEMS and all(
        len(item.split()) <= _MENU_WORDS for item in items
    )


@dataclasses.dataclass(frozen=True)
class BadLines:
    """Thresholds of bad_lines.

    Attributes:
      max_share: of the words, in lines that are removed.
      max_upper: of the letters with two cases, in upper case.
    """

    max_share: float = 0.05
    max_upper: float = 0.5


def _bad_lines(argument: str) -> Stage:
    """The stage bad_lines."""
    limits: BadLines = options(BadLines, argument)

    def run(text: str) -> str | Dropped:
        kept, removed, words = [], 0, 0
        for line in text.split("\n"):
            if not line.strip():
                kept.append(line)
                continue
            size = count(line).words
            words += size
            if _is_bad(line.strip(), size, limits.max_upper):
                removed += size
            else:
                kept.append(line)
        if removed > limits.max_share * words:
            return Dropped("too many bad lines")
        return "\n".join(kept).strip("\n") if removed else text

    return run


def _is_bad(line: str, words: int, max_upper: float) -> bool:
    """Whether a line is on RefinedWeb's list; its `words` are counted."""
    found = kinds(line)
    if b"a" not in found and b"c" not in found:
        return True  # digits and signs
    if words == 1 or _COUNTER.fullmatch(line):
        return True
    lower = sum(map(str.islower, line))
    upper = sum(map(str.isupper, line))
    return upper > max_upper * (lower + upper)


STAGES: dict[str, Maker] = {
    "boilerplate": plain(boilerplate),
    "bad_lines": _bad_lines,
}
