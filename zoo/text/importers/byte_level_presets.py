"""Byte-level BPE tokenizers where the words are only named, as other programs do.

Before a text merges it is cut into words. Files of Hugging Face hold the rule, others
its name; here are the names with the rules that transformers has for their models.
"""

from collections.abc import Callable
from typing import NamedTuple

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers


class _Words(NamedTuple):
    """How a text is cut into words that merge on their own.

    Attributes:
      split: the pre-tokenizer.
      normalizer: or None.
      ignore_merges: whether a word that is a token is taken as it is.
    """

    split: pre_tokenizers.PreTokenizer
    normalizer: normalizers.Normalizer | None = None
    ignore_merges: bool = False


def gpt2() -> _Words:
    """Of GPT-2."""
    return _Words(pre_tokenizers.ByteLevel(add_prefix_space=False))


def smollm() -> _Words:
    """Of SmolLM 1 and 2: each digit is a word."""
    digits = pre_tokenizers.Digits(individual_digits=True)
    return _Words(pre_tokenizers.Sequence([digits, gpt2().split]))


def llama3() -> _Words:
    """Of Llama 3: words of GPT-4, numbers of up to three digits."""
    return _Words(_gpt4(r"\p{N}{1,3}"), ignore_merges=True)


def qwen2() -> _Words:
    """Of Qwen 2 and 3: words of GPT-4, each digit alone."""
    return _Words(_gpt4(r"\p{N}"), normalizers.NFC())


def _gpt4(digits) -> pre_tokenizers.PreTokenizer:
    before = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
    after = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    split = pre_tokenizers.Split(tokenizers.Regex(before + digits + after), "isolated")
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
      vocabulary: the ids of tokens.
      merges: pairs of tokens, the first to merge first.
      name: of the words, one of `WORDS`.
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
