"""Texts with one label each: the name or index of a class, or a number to regress."""

from typing import Any

from zoo.data.formats import rows
from zoo.text.tokenizer import Tokenizer


def _row(values: dict[str, Any], tokenizer: Tokenizer) -> rows.Row:
    """The row of a text and its label."""
    tokens = tokenizer.encode(rows.text_of(values, "text"))
    return rows.Row(tokens, [1.0] * len(tokens), values["label"])


FORMAT = rows.Format({"text": "text", "label": "label"}, _row, makes="labelled")
