"""Prompts with completions: the completion is learnt."""

from typing import Any

from zoo.data.formats import rows
from zoo.text.tokenizer import Tokenizer


def _row(values: dict[str, Any], tokenizer: Tokenizer) -> rows.Row:
    """The row of a prompt and its completion."""
    prompt, answer = (rows.text_of(values, name) for name in ("prompt", "completion"))
    return rows.completion(prompt, answer, tokenizer)


FORMAT = rows.Format({"prompt": "prompt", "completion": "completion"}, _row)
