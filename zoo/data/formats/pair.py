"""Pairs of texts that mean the same, with optional hard negatives.

An example has a text (`text`, called the anchor), a `positive`, and may have a
`negative`: one text or a list of texts. A group is the anchor, the positive and the
negatives, in this order.
"""

from typing import Any

from zoo.data.formats import rows
from zoo.text.tokenizer import Tokenizer


def _group(values: dict[str, Any], tokenizer: Tokenizer) -> list[rows.Row]:
    """The rows of an example's texts.

    Raises:
      ValueError: a text is missing or empty.
    """
    texts = [rows.text_of(values, name) for name in ("text", "positive")]
    negative = values.get("negative")
    if isinstance(negative, str):
        negative = [negative]
    if negative is not None and not isinstance(negative, list):
        raise ValueError(
            f"negative: {negative!r:.60}, a text or a list of texts allowed."
        )
    for text in negative or ():
        texts.append(rows.text_of({"negative": text}, "negative"))
    encoded = [tokenizer.encode(text) for text in texts]
    if not all(encoded):
        raise ValueError("a text of the pair is empty.")
    return [rows.Row(ids, [1.0] * len(ids)) for ids in encoded]


FORMAT = rows.Format(
    {"text": "text", "positive": "positive", "negative": "negative"},
    _group,
    optional=("negative",),
    makes="pairs",
)
