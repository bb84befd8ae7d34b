"""Encodes many texts faster than the library: each word of them only once.

GPT-2 (Radford et al. 2019) cuts a text into words by a pattern, and BPE sees one
word at a time. So the tokens of a word depend on that word alone. Here `re` cuts the
texts of ASCII, and a table has the tokens of the words, which the library made. The
library encodes all other texts, and all texts of other tokenizers.
"""

import itertools
import json
import re
from array import array
from collections.abc import Sequence

import numpy as np
from tokenizers import pre_tokenizers

from zoo.text.tokenizer import Tokenizer, library_tokenizer

# The pattern of GPT-2, with the letters and digits of ASCII.
_WORD = re.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+",
    re.ASCII,
)
_CHARACTERS = 2**21  # of the words in the table, where a word counts 16 more
_OVERHEAD = 16


class WordCache:
    """The tokens of words.

    Args:
      tokenizer: makes the tokens.
      characters: of words in the table; one that grew beyond that starts anew.
    """

    def __init__(self, tokenizer: Tokenizer, characters: int = _CHARACTERS):
        self._tokenizer = tokenizer
        self._cuts = _cuts_as_gpt2(json.loads(tokenizer.json))
        # The model alone takes a third of the time; its alphabet stands for bytes.
        self._model = library_tokenizer(tokenizer.json).model
        letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        self._alphabet = {
            code: letters.pre_tokenize_str(chr(code))[0][0] for code in range(128)
        }
        self._largest, self._size = characters, 0
        self._known: dict[str, bytes] = {}

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text, uint32, equal to those of `Tokenizer.encode_batch`."""
        if self._size > self._largest:
            self._known, self._size = {}, 0
        words_D = [
            _WORD.findall(text) if self._cuts and text.isascii() else None
            for text in texts
        ]
        self._learn(set(itertools.chain.from_iterable(filter(None, words_D))))
        others = [
            text for text, words in zip(texts, words_D, strict=True) if words is None
        ]
        encoded = iter(self._tokenizer.encode_batch(others))
        known = self._known.__getitem__
        return [
            np.array(next(encoded), np.uint32)
            if words is None
            else np.frombuffer(b"".join(map(known, words)), np.uint32)
            for words in words_D
        ]

    def _learn(self, words: set[str]) -> None:
        """Puts the words in the table that are not there."""
        new = list(words - self._known.keys())
        self._size += sum(map(len, new)) + _OVERHEAD * len(new)
        for word in new:
            tokens = self._model.tokenize(word.translate(self._alphabet))
            self._known[word] = array("I", [token.id for token in tokens]).tobytes()


def _cuts_as_gpt2(fields) -> bool:
    """Whether a tokenizer.json makes the tokens of each word of GPT-2 on its own."""
    before = fields.get("pre_tokenizer") or {}
    return (
        fields.get("normalizer") is None
        and before.get("type") == "ByteLevel"
        and before.get("use_regex", True)
        and not before.get("add_prefix_space")
        and fields["model"].get("type") == "BPE"
        and not fields["model"].get("dropout")
        and all(token["special"] for token in fields.get("added_tokens", []))
    )
