"""New tokenizers for encoders: byte-level BPE with the special tokens of BERT."""

from collections.abc import Iterable
from typing import Any

from tokenizers import processors

from zoo.text import tokenizer as tokenizers

# The padding is the id 0 (Devlin et al. 2018, arXiv:1810.04805).
_TOKENS = {
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def train(documents: Iterable[str], vocab_size: int) -> tokenizers.Tokenizer:
    """Trains the vocabulary of `zoo.text.tokenizer.train` for an encoder.

    The ids are [PAD], [CLS], [SEP] and [MASK], then the 256 bytes, then the merges. A
    text stands between [CLS] and [SEP], and [SEP] ends it.

    Args:
      documents: texts; names of special tokens in them are plain text.
      vocab_size: the number of tokens, at least 260.

    Raises:
      ValueError: `vocab_size` is below the special tokens and bytes, or above what the
        texts support.
    """
    plain = tokenizers.train(documents, vocab_size, list(_TOKENS.values()))
    engine = tokenizers.library_tokenizer(plain.json)
    first, last = _TOKENS["cls_token"], _TOKENS["sep_token"]
    post_processor: Any = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} $B:1 {last}:1",
        special_tokens=[(name, engine.token_to_id(name)) for name in (first, last)],
    )
    engine.post_processor = post_processor
    config = {**_TOKENS, "bos_token": first, "eos_token": last}
    return tokenizers.Tokenizer(engine.to_str(pretty=True), config)
