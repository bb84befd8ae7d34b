"""How documents become a stream: in chunks, and with tokens around each of them."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

from zoo.text.tokenizer import Tokenizer

T = TypeVar("T")


class Around(NamedTuple):
    """What a stream adds to the tokens of its documents.

    Attributes:
      first: token ids at the very start of the stream. Without a prefix this is one
        end token, so that an end token stands before each document.
      start: token ids before each document: the tokenizer's prefix, such as `<s>`. An
        end token that starts a prefix is left out: it ends what comes before.
      end: the token id after each document.
    """

    first: list[int]
    start: list[int]
    end: int


def around(tokenizer: Tokenizer) -> Around:
    """The tokens around documents.

    Raises:
      ValueError: the tokenizer has no end token.
    """
    end, prefix = tokenizer.end_id, tokenizer.prefix
    if end is None:
        raise ValueError(
            "The tokenizer has no token that ends a text, and documents need one; name "
            "it as eos_token in tokenizer_config.json."
        )
    first = [] if prefix and prefix[0] != end else [end]
    return Around(first, prefix[len(first) :], end)


def chunks(
    entries: Iterable[T], characters: int, length: Callable[[T], int] = len
) -> Iterator[list[T]]:
    """Groups texts into lists of about so many characters, a bound on memory.

    Args:
      entries: texts, or what has one.
      characters: from which a list ends.
      length: the characters of an entry.
    """
    chunk, size = [], 0
    for entry in entries:
        chunk.append(entry)
        size += length(entry)
        if size >= characters:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
