"""The format of language models: all documents as one stream of token ids."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from zoo.data import document_tokens
from zoo.text.tokenizer import Tokenizer

_CHUNK = 1 << 22  # characters tokenized at a time, a bound on memory


@dataclasses.dataclass(frozen=True)
class Stream:
    """Documents as one sequence of token ids.

    Attributes:
      tokens: int32 [N]: the tokenizer's prefix (such as `<s>`), the document and the
        end token, for each document. Without a prefix, an end token comes first, so
        that an end token stands before each document.
      weights: bool [N], False for the tokens of the prefix: every prompt has them, so
        no model needs to predict them. None where all tokens count.
      bytes: UTF-8 bytes of the documents joined by a newline: the divisor of bits
        per byte.
      documents: how many.
    """

    tokens: np.ndarray
    weights: np.ndarray | None
    bytes: int
    documents: int


def language_model(documents: Iterable[str], tokenizer: Tokenizer) -> Stream:
    """Turns documents into the stream that a language model learns from.

    Raises:
      ValueError: there is no document, or the tokenizer has no end token.
    """
    first, prefix, end = document_tokens.around(tokenizer)
    start, last = np.array(prefix, np.int32), np.array([end], np.int32)
    parts, lengths, size = [np.array(first, np.int32)], [], 0
    for chunk in document_tokens.chunks(documents, _CHUNK):
        for text, ids in zip(chunk, tokenizer.encode_batch(chunk), strict=True):
            parts += [start, np.array(ids, np.int32), last]
            lengths.append(len(start) + len(ids) + 1)
            size += len(text.encode())
    if not lengths:
        raise ValueError("There is no document to learn from.")
    tokens, weights = np.concatenate(parts), None
    if len(start):
        weights = np.ones(len(tokens), bool)
        starts_D = len(first) + np.cumsum([0, *lengths[:-1]])
        weights[starts_D[:, None] + np.arange(len(start))] = False
    return Stream(tokens, weights, size + len(lengths) - 1, len(lengths))
