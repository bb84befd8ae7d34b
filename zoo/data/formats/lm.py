"""The format of language models: all documents as one stream of token ids."""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from zoo.text.tokenizer import Tokenizer

_CHUNK = 1 << 22  # characters tokenized at a time, a bound on memory


@dataclasses.dataclass(frozen=True)
class Stream:
    """Documents as one sequence of token ids.

    Attributes:
      tokens: int32 [N]: the end token, then each document and the end token.
      bytes: UTF-8 bytes of the documents joined by a newline: the divisor of bits
        per byte.
      documents: how many.
    """

    tokens: np.ndarray
    bytes: int
    documents: int


def language_model(documents: Iterable[str], tokenizer: Tokenizer) -> Stream:
    """Turns documents into the stream that a language model learns from.

    Raises:
      ValueError: there is no document.
    """
    end = np.array([tokenizer.end_id], np.int32)
    parts, size, count = [end], 0, 0
    for chunk in _chunks(documents):
        for text, ids in zip(chunk, tokenizer.encode_batch(chunk), strict=True):
            parts += [np.array(ids, np.int32), end]
            size += len(text.encode())
            count += 1
    if not count:
        raise ValueError("There is no document to learn from.")
    return Stream(np.concatenate(parts), size + count - 1, count)


def _chunks(documents: Iterable[str]) -> Iterator[list[str]]:
    """Groups documents into lists of about `_CHUNK` characters."""
    chunk, size = [], 0
    for text in documents:
        chunk.append(text)
        size += len(text)
        if size >= _CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
