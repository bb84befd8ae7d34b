"""Byte-level BPE tokenizers whose pre-tokenizer has a name, as in GGUF files.

A tokenizer.json holds the pre-tokenizer itself. The rules for the names here are those
that transformers has for the same models.
"""

from collections.abc import Callable
from typing import NamedTuple

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers


class _Words(NamedTuple):
    """How to cut a text into words, which BPE merges one by one.

    Attributes:
      split: the pre-tokenizer.
      normalizer: applied before `split`, or None.
      ignore_merges: whether a word that is a token becomes this token without merges.
    """

    split: pre_tokenizers.PreTokenizer
    normalizer: normalizers.Normalizer | None = None
    ignore_merges: bool = False


def gpt2() -> _Words:
    """The words of GPT-2."""
    return _Words(pre_tokenizers.ByteLevel(add_prefix_space=False))


def smollm() -> _Words:
    """The words of SmolLM 1 and 2: as GPT-2, but each digit is a word."""
    digits = pre_tokenizers.Digits(individual_digits=True)
    return _Words(pre_tokenizers.Sequence([digits, gpt2().split]))


def llama3() -> _Words:
    """The words of Llama 3: as GPT-4, with up to three digits in a word."""
    return _Words(_gpt4(r"\p{N}{1,3}"), ignore_merges=True)


def qwen2() -> _Words:
    """The words of Qwen 2 and 3: as GPT-4, but each digit is a word."""
    return _Words(_gpt4(r"\p{N}"), normalizers.NFC())


def gpt4_pattern(digits: str) -> str:
    r"""The regular expression of GPT-4 for one word.

    Args:
      digits: the expression for a word of digits, such as `\p{N}{1,3}`.
    """
    before = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
    after = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    return before + digits + after


def _gpt4(digits) -> pre_tokenizers.PreTokenizer:
    """The pre-tokenizer with the pattern of GPT-4, which also writes bytes."""
    pattern = tokenizers.Regex(gpt4_pattern(digits))
    split = pre_tokenizers.Split(pattern, "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([split, as_bytes])


WORDS: dict[str, Callable[[], _Words]] = {
    "default": gpt2,
    "gpt-2": gpt2,
    "smollm": smollm,
    "llama-bpe": llama3,
    "llama3": llama3,
    "llama-v3": llama3,
    "qwen2": qwen2,
}


def build(vocabulary, merges, name: str) -> tokenizers.Tokenizer:
    """Builds a tokenizer without special tokens.

    Args:
      vocabulary: the id of each token.
      merges: pairs of tokens, by rank.
      name: a name in `WORDS`.
    """
    words = WORDS[name]()
    engine = tokenizers.Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, ignore_merges=words.ignore_merges)
    )
    if words.normalizer is not None:
        engine.normalizer = words.normalizer
    engine.pre_tokenizer = words.split
    engine.decoder = decoders.ByteLevel()
    return engine
