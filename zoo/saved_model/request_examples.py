"""Example inputs of the signatures, short enough for the model."""

from collections.abc import Callable
from typing import Any

from zoo.text.chat import rendering
from zoo.text.tokenizer import Tokenizer

_PROMPT, _COMPLETION = "In the beginning", " was the Word"
_QUESTION = "What is the capital of France?"


def of_features(width: int) -> dict[str, Any]:
    """One row for a model of features."""
    return {"features": [0.0] * width}


def of_text(tokenizer: Tokenizer, limit: int) -> dict[str, Any]:
    """One row for a model that reads whole texts.

    Args:
      tokenizer: its Tokenizer.
      limit: the most tokens of a text; 0 is any number.
    """
    text = _PROMPT + _COMPLETION
    if limit:
        text = _cut(text, limit - 2, _counts(tokenizer))
    return {"text": text}


def of_mask(tokenizer: Tokenizer, mask: str, limit: int) -> dict[str, Any]:
    """One row for a model that fills masks.

    Args:
      tokenizer: its Tokenizer.
      mask: the name of the mask token.
      limit: the most tokens of a text; 0 is any number.
    """
    count = _counts(tokenizer)
    text = _cut(_PROMPT, limit - 3, count) if limit else _PROMPT
    return {"text": f"{text} {mask}"}


def of_language(
    tokenizer: Tokenizer, limit: int, new_tokens: int, capacity: int, chat: bool
) -> dict[str, Any]:
    """One row for a language model.

    Args:
      tokenizer: its Tokenizer.
      limit: the most tokens of a prompt and its answer.
      new_tokens: the tokens of an answer.
      capacity: the most tokens of a prompt of `start`.
      chat: whether there is a signature `chat`.
    """
    count, room = _counts(tokenizer), limit - new_tokens
    prompt = _cut(_PROMPT, min(room, capacity), count)
    examples = {
        "prompt": prompt,
        "completion": _cut(_COMPLETION, limit - count(prompt), count),
        "text": _cut(_PROMPT + _COMPLETION, limit, count),
        "tokens": [1, 2, 3],
        "lengths": 3,
        "token": 1,
    }
    if chat:
        content = _cut(_QUESTION, room, lambda text: _chat_tokens(tokenizer, text))
        examples |= {"roles": ["user"], "contents": [content]}
    return examples


def of_seq2seq(tokenizer: Tokenizer, limit: int) -> dict[str, Any]:
    """One row for an encoder-decoder.

    Args:
      tokenizer: the Tokenizer of targets.
      limit: the most tokens of a source.
    """
    text = of_text(tokenizer, limit)["text"]
    ids = {"tokens": [1, 2, 3], "lengths": 3}
    return {"text": text, "source": text, "target": _cut(_PROMPT, 8, len), **ids}


def _counts(tokenizer) -> Callable[[str], int]:
    """Counts the tokens of a text, with those before it."""
    before = len(tokenizer.prefix)
    return lambda text: before + len(tokenizer.encode(text))


def _chat_tokens(tokenizer, text) -> int:
    messages = [{"role": "user", "content": text}]
    return len(rendering.encode(tokenizer, messages))


def _cut(text: str, room: int, count: Callable[[str], int]) -> str:
    """The longest beginning of a text that fits, of one letter at least."""
    sizes = range(len(text), 1, -1)
    return next((text[:n] for n in sizes if count(text[:n]) <= room), text[:1])
