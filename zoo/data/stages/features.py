"""Classic features of words, for classifiers that want them. A language model does not.

stop_words    removes English stop words (scikit-learn's list)
stem:english  replaces each word by its stem (Snowball, by nltk), in lower case
tags:zh       writes word/tag for each word, by jieba; tags:ja by MeCab

No lemmas and no English tags: their libraries download data when they first run.
"""

import re
from typing import Any

from zoo.data.stages.segmentation import parts, words_of
from zoo.data.stages.stage import Maker, Stage, library, names, plain

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_WORD_AND_SPACE = re.compile(rf"{_WORD.pattern}[^\S\n]?")


def _stop_words(argument: str) -> Stage:
    """The stage stop_words."""
    lists: Any = library("sklearn.feature_extraction.text", "scikit-learn")
    listed = lists.ENGLISH_STOP_WORDS

    def stop_words(text: str) -> str:
        return _WORD_AND_SPACE.sub(
            lambda m: "" if m[0].strip().lower() in listed else m[0], text
        )

    return plain(stop_words)(argument)


def _stem(argument: str) -> Stage:
    """The stage stem:LANGUAGE."""
    snowball: Any = library("nltk.stem.snowball", "nltk")
    names(argument, snowball.SnowballStemmer.languages, "the language")
    stem = snowball.SnowballStemmer(argument).stem

    def run(text: str) -> str:
        known: dict[str, str] = {}  # of one text, so that memory does not grow

        def stemmed(match: re.Match[str]) -> str:
            word = match[0]
            if word not in known:
                # The stemmer takes quadratic time; no word has that many letters.
                known[word] = stem(word) if len(word) <= 100 else word.lower()
            return known[word]

        return _WORD.sub(stemmed, text)

    return run


def _tags(argument: str) -> Stage:
    """The stage tags:LANGUAGE."""
    split = words_of(argument)

    def run(text: str) -> str:
        pairs = (pair for part in parts(text) for pair in split(part))
        return " ".join(f"{word}/{tag}" for word, tag in pairs if not word.isspace())

    return run


STAGES: dict[str, Maker] = {"stop_words": _stop_words, "stem": _stem, "tags": _tags}
