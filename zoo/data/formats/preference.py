"""Preferences: a prompt with a chosen and a rejected answer.

A group is the prompt with the chosen answer, then the prompt with the rejected one.
Both rows begin with the same tokens, and the loss weights are those of the answer and
its end. An example has one of three forms:

    texts      prompt, chosen and rejected
    chats      chosen and rejected are lists of messages, of which the last is the
               assistant's. A prompt that is a list stands before both. Without such
               a prompt, the messages that both share are the prompt.
    HH texts   chosen and rejected without a prompt are the dialogues of Anthropic's HH
               data (Bai et al. 2022, arXiv:2204.05862), such as
               "\\n\\nHuman: ...\\n\\nAssistant: ...". The prompt ends with the last
               "\\n\\nAssistant:" that both share.

A reward model also reads a `margin`, by how much the chosen answer is better; and
`rejected` may be a list of texts, of which each is worse than the chosen one.
"""

import itertools
import math
import os
from typing import Any

from zoo.data.formats import chat, rows
from zoo.text.chat import rendering
from zoo.text.tokenizer import Tokenizer

_EQUAL = "chosen and rejected are equal, so nothing is learnt."
_HUMAN, _ASSISTANT = "\n\nHuman:", "\n\nAssistant:"


def _group(values: dict[str, Any], tokenizer: Tokenizer) -> list[rows.Row]:
    """The rows of an example.

    Raises:
      ValueError: the example has none of the forms, an answer without tokens, equal
        answers, or a margin that is no number.
    """
    chosen, rejected = values["chosen"], values["rejected"]
    several = isinstance(rejected, list) and not isinstance(chosen, list)
    if several and all(isinstance(text, str) for text in rejected):
        return _several(values, tokenizer)
    if chosen == rejected:
        raise ValueError(_EQUAL)
    group = _two(values, tokenizer)
    for name, row in zip(("chosen", "rejected"), group, strict=True):
        # the end token alone is no answer
        if sum(row.weights) < (2 if row.tokens[-1] in tokenizer.end_ids else 1):
            raise ValueError(f"{name}: the answer has no tokens.")
    if group[0].tokens == group[1].tokens:
        raise ValueError(_EQUAL)
    margin = values.get("margin")
    if margin is None:
        return group
    if isinstance(margin, bool) or not isinstance(margin, int | float):
        raise ValueError(f"margin: {margin!r:.60}, a number allowed.")
    if not math.isfinite(margin):
        raise ValueError(f"margin: {margin}, a finite number allowed.")
    return [row._replace(label=float(margin)) for row in group]


def _several(values, tokenizer) -> list[rows.Row]:
    """The rows of a chosen answer and of several rejected ones."""
    if not values["rejected"]:
        raise ValueError("rejected: no text, at least one allowed.")
    if values.get("margin") is not None:
        raise ValueError("margin: allowed beside one rejected answer, not several.")
    group = []
    for text in values["rejected"]:
        two = _group({**values, "rejected": text}, tokenizer)
        group += two[1:] if group else two
    return group


def _two(values, tokenizer) -> list[rows.Row]:
    """The rows of a chosen and a rejected answer."""
    chosen, rejected = values["chosen"], values["rejected"]
    if isinstance(chosen, list) or isinstance(rejected, list):
        return _chats(values, tokenizer)
    answers = [rows.text_of(values, name) for name in ("chosen", "rejected")]
    if values.get("prompt") is None:
        prompt, answers = _dialogue(*answers)
    elif isinstance(values["prompt"], list):
        # an answer to a chat is the assistant's next message
        messages = [[{"role": "assistant", "content": text}] for text in answers]
        both = dict(zip(("chosen", "rejected"), messages, strict=True))
        return _chats({**values, **both}, tokenizer)
    else:
        prompt = rows.text_of(values, "prompt")
    return [rows.completion(prompt, answer, tokenizer) for answer in answers]


def _chats(values, tokenizer) -> list[rows.Row]:
    """The rows of two chats that differ in their last message."""
    both = [chat.messages_of(values[name]) for name in ("chosen", "rejected")]
    prompt = values.get("prompt")
    if isinstance(prompt, list):
        first = chat.messages_of(prompt)
        both = [[*first, *messages] for messages in both]
    same = itertools.takewhile(lambda two: two[0] == two[1], zip(*both, strict=False))
    shared = [message for message, _ in same]
    texts = [message["content"] for message in shared]
    if isinstance(prompt, str) and prompt not in texts:
        raise ValueError(
            "prompt: a text that is no message of both chats; a list of messages, or "
            "no prompt, allowed."
        )
    group = []
    for messages in both:
        number = len(messages) - 1
        if number != len(shared) or messages[-1]["role"] != "assistant":
            raise ValueError(
                "chosen and rejected differ in more than the assistant's last message."
            )
        if not messages[-1]["content"].strip():
            raise ValueError("the answer has no tokens.")
        tokens = rendering.encode(tokenizer, messages, add_generation_prompt=False)
        first, last = chat.span(tokenizer, messages, number, tokens)
        weights = [0.0] * first + [1.0] * (last - first)
        group.append(rows.Row(tokens[:last], weights))
    return group


def _dialogue(chosen: str, rejected: str) -> tuple[str, list[str]]:
    """The prompt and the two answers of dialogues of the HH data."""
    shared = os.path.commonprefix([chosen, rejected])
    size = shared.rfind(_ASSISTANT) + len(_ASSISTANT)
    if not chosen.startswith(_HUMAN) or _ASSISTANT not in shared:
        raise ValueError(
            "no prompt, and the texts are no dialogues that share one "
            f"({_HUMAN!r} ... {_ASSISTANT!r} ...)."
        )
    answers = [chosen[size:], rejected[size:]]
    if any(_HUMAN in answer for answer in answers):
        raise ValueError("the dialogues differ in more than the last answer.")
    return chosen[:size], answers


FORMAT = rows.Format(
    {name: name for name in ("prompt", "chosen", "rejected", "margin")},
    _group,
    optional=("prompt", "margin"),
    makes="preferences",
)
