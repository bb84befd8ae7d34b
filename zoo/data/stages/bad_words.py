"""The stage `bad_words:FILE` drops texts with a word or phrase of a file.

The file has one word or phrase a line, in UTF-8; empty lines and lines that start with
"#" do not count. Case does not matter. An entry matches whole words; in a script
without spaces, such as Chinese, it matches anywhere.
"""

import pathlib
import re

from zoo.data.stages.kinds import kinds
from zoo.data.stages.stage import Dropped, Maker, Stage

_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")


def _bad_words(argument: str) -> Stage:
    """The stage; reads the file."""
    try:
        lines = pathlib.Path(argument).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the file {argument!r}: {error}.") from None
    entries = {line.strip().casefold() for line in lines}
    entries = {entry for entry in entries if entry and entry[0] != "#"}
    if not entries:
        raise ValueError(f"the file {argument!r} has no entry.")
    anywhere = {entry for entry in entries if b"c" in kinds(entry)}
    letters = {entry: frozenset(entry) for entry in anywhere}
    phrases: dict[str, set[tuple[str, ...]]] = {}  # by their first word
    for entry in entries - anywhere:
        words = tuple(_WORD.findall(entry))
        if not words:
            raise ValueError(f"the file {argument!r}: {entry!r} has no word.")
        phrases.setdefault(words[0], set()).add(words)

    def run(text: str) -> str | Dropped:
        text_lower = text.casefold()
        words = _WORD.findall(text_lower)
        if phrases.keys() & set(words) and _has_phrase(words, phrases):
            return Dropped("a bad word")
        if anywhere and not text.isascii():
            there = set(text_lower)  # cheap, and few entries are left
            for entry in anywhere:
                if letters[entry] <= there and entry in text_lower:
                    return Dropped("a bad word")
        return text

    return run


def _has_phrase(words: list[str], phrases: dict[str, set[tuple[str, ...]]]) -> bool:
    """Whether any phrase stands among the words."""
    return any(
        tuple(words[i : i + len(phrase)]) == phrase
        for i, word in enumerate(words)
        if word in phrases
        for phrase in phrases[word]
    )


STAGES: dict[str, Maker] = {"bad_words": _bad_words}
