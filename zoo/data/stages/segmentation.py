"""The stages `segment:zh` and `segment:ja` put spaces between words.

Chinese by jieba, Japanese by fugashi (MeCab) with unidic-lite; extra `cjk`. For models
and features that take words. A tokenizer that learns from text needs no spaces.
"""

import re
from collections.abc import Callable
from typing import Any

from zoo.data.stages.stage import Maker, Stage, library, names

# The libraries take one line at a time, and a long line in parts.
_PARTS = re.compile(r"[^\n\u3002\uff01\uff1f]{1,2000}[\u3002\uff01\uff1f]?|\n|.")


def words_of(language: str) -> Callable[[str], list[tuple[str, str]]]:
    """A function from a short text to its words and their part-of-speech tags.

    Args:
      language: "zh" or "ja".

    Raises:
      ValueError: another language, or its library is not installed.
    """
    names(language, _LANGUAGES, "the language")
    return _LANGUAGES[language]()


def _chinese():
    """Words and tags by jieba."""
    library("jieba", "jieba").setLogLevel("ERROR")
    posseg: Any = library("jieba.posseg", "jieba")
    return lambda text: [(pair.word, pair.flag) for pair in posseg.lcut(text)]


def _japanese():
    """Words and tags by MeCab."""
    fugashi: Any = library("fugashi", "fugashi unidic-lite")
    library("unidic_lite", "fugashi unidic-lite")
    tagger = fugashi.Tagger()
    return lambda text: [(word.surface, word.feature.pos1) for word in tagger(text)]


_LANGUAGES = {"zh": _chinese, "ja": _japanese}


def _segment(argument: str) -> Stage:
    """The stage `segment:LANGUAGE`."""
    split = words_of(argument)

    def run(text: str) -> str:
        pieces = []
        for part in parts(text):
            words = [word for word, _ in split(part) if not word.isspace()]
            pieces.append("\n" if part == "\n" else " ".join(words))
        return _joined(pieces)

    return run


def parts(text: str) -> list[str]:
    """The text in lines, sentences or at most 2,000 characters, line ends apart."""
    return _PARTS.findall(text)


def _joined(pieces: list[str]) -> str:
    """Pieces with a space between them, except at line ends."""
    return " ".join(filter(None, pieces)).replace(" \n", "\n").replace("\n ", "\n")


STAGES: dict[str, Maker] = {"segment": _segment}
