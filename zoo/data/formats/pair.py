"""Pairs of texts that mean the same, with optional hard negatives.

An example has a text (`text`, called the anchor), a `positive`, and may have a
`negative`: one text or a list of texts. A group is the anchor, the positive and the
negatives, in this order. Each text has the tokens that the signature `embed` gives it.
"""

import functools
from typing import Any

from zoo.data.formats import rows
from zoo.text import framing
from zoo.text.importers import post_processor
from zoo.text.tokenizer import Tokenizer


def format_of(frame: framing.Frame | None = None) -> rows.Format:
    """The format of pairs.

    Args:
      frame: what stands around each text; None is all that the tokenizer's
        post-processor adds.
    """
    return rows.Format(
        {"text": "text", "positive": "positive", "negative": "negative"},
        functools.partial(_group, frame=frame),
        optional=("negative",),
        grouped=True,
    )


def _group(
    values: dict[str, Any], tokenizer: Tokenizer, frame: framing.Frame | None
) -> list[rows.Row]:
    """The rows of an example's texts.

    Raises:
      ValueError: a text is missing or empty.
    """
    frame = frame or _whole_frame(tokenizer.json)
    texts = [rows.text_of(values, name) for name in ("text", "positive")]
    negative = values.get("negative")
    if isinstance(negative, str):
        negative = [negative]
    if negative is not None and not isinstance(negative, list):
        raise ValueError(f"negative: {negative!r:.60}, a text or a list of texts allowed.")
    for text in negative or ():
        texts.append(rows.text_of({"negative": text}, "negative"))
    group = []
    for text in texts:
        ids = tokenizer.encode(text)
        if not ids:
            raise ValueError("a text of the pair is empty.")
        tokens = frame.around(ids)
        group.append(rows.Row(tokens, [1.0] * len(tokens), len(frame.after)))
    return group


@functools.lru_cache(1)
def _whole_frame(tokenizer_json: str) -> framing.Frame:
    """All that a post-processor adds; parsed once, and not for each row."""
    return framing.Frame(*post_processor.frame(tokenizer_json), [])


FORMAT = format_of()
