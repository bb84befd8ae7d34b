"""Words with a tag each: the label of a word stands on the word's first token.

The text is the words joined by spaces, as a client sends it. The text is tokenized as a
whole, so a server meets the same tokens. An example with a byte-level BPE:

    words      the     unhappy      man
    text       "the unhappy man"
    tokens     the     Ġun   happy  Ġman
    labels     at      jj    -      nn
    weights    1       1     0      1
"""

from typing import Any

from zoo.data.formats import rows
from zoo.data.formats.labels import as_list
from zoo.text.tokenizer import Tokenizer


def _row(values: dict[str, Any], tokenizer: Tokenizer) -> rows.Row:
    """The row of an example's words.

    Raises:
      ValueError: no words, another number of tags than of words, or a word without a
        token that begins with it.
    """
    words = words_of(values["tokens"])
    tags = as_list(values["tags"])
    if None in tags:
        raise ValueError(f"tags[{tags.index(None)}]: None, a name allowed.")
    if len(words) != len(tags):
        raise ValueError(f"tags: {len(tags)}, as many as the {len(words)} words.")
    tokens, spans = tokenizer.encode_with_spans(" ".join(words))
    labels, start, place = [None] * len(tokens), 0, 0
    for number, (word, tag) in enumerate(zip(words, tags, strict=True)):
        # the space before a word may be a part of the word's first token
        while place < len(tokens) and spans[place][1] <= start:
            place += 1
        end = start + len(word)
        taken = place < len(tokens) and labels[place] is not None
        if taken or place == len(tokens) or spans[place][0] >= end:
            raise ValueError(
                f"tokens[{number}]: {word!r:.60} has no token of its own, as each word "
                "with a tag needs."
            )
        labels[place] = tag
        start = end + 1
    weights = [0.0 if label is None else 1.0 for label in labels]
    return rows.Row(tokens, weights, labels)


def words_of(value: Any) -> list[str]:
    """The words of an example.

    Raises:
      ValueError: the value is no list of words, or a word is empty.
    """
    words = as_list(value)
    words = [w.decode("utf-8") if isinstance(w, bytes) else w for w in words]
    if not words or not all(isinstance(w, str) and w.strip() for w in words):
        raise ValueError(f"tokens: {value!r:.60}, a list of words allowed.")
    return words


FORMAT = rows.Format({"tokens": "tokens", "tags": "tags"}, _row, makes="tagged")
