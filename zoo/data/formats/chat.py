"""Chats by the tokenizer's chat template: the assistant's messages are learnt.

A chat has the tokens that `zoo.text.chat.rendering.encode` gives: those of the exported
`chat` signature. The loss counts from where a server would begin to generate, to the
token that ends the message.
"""

from typing import Any

from zoo.data.formats import rows
from zoo.text.chat import rendering
from zoo.text.tokenizer import Tokenizer

_NAMES = {"from": "role", "value": "content"}  # as ShareGPT's files name them
_ROLES = {"human": "user", "gpt": "assistant"}


def _row(values: dict[str, Any], tokenizer: Tokenizer) -> rows.Row:
    """The row of one chat.

    Raises:
      ValueError: the messages have another form, none is the assistant's, or the
        template writes a longer chat in another way than the shorter one.
    """
    messages = _messages(values["messages"])
    tokens = rendering.encode(tokenizer, messages, add_generation_prompt=False)
    weights = [0.0] * len(tokens)
    for number, message in enumerate(messages):
        if message["role"] == "assistant":
            first, last = _span(tokenizer, messages, number, tokens)
            weights[first:last] = [1.0] * (last - first)
    if not any(weights):
        raise ValueError("messages: none is the assistant's, so nothing is learnt.")
    last = len(weights) - weights[::-1].index(1.0)  # nothing is learnt behind it
    return rows.Row(tokens[:last], weights[:last])


def _span(tokenizer, messages, number, tokens) -> tuple[int, int]:
    """Where an assistant's message begins and ends among the tokens of its chat."""
    before = rendering.encode(tokenizer, messages[:number]) if number else []
    through = rendering.encode(
        tokenizer, messages[: number + 1], add_generation_prompt=False
    )
    first, ends = len(before), set(tokenizer.end_ids)
    places = (i for i in range(first, len(through)) if through[i] in ends)
    # some templates write the next generation prompt behind the end token
    end = next(places, len(through) - 1) + 1
    if tokens[:first] != before or tokens[:end] != through[:end]:
        raise ValueError(
            f"messages[{number}]: the chat up to this message has other tokens when "
            "more follows, by the chat template or by a break in front of the "
            "message. So a model that learns the whole chat would not meet what a "
            "server sends."
        )
    return first, end


def _messages(value: Any) -> list[dict[str, str]]:
    """The messages of an example, with `role` and `content`."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"messages: {value!r:.60}, a list of messages allowed.")
    messages = []
    for number, message in enumerate(value):
        if not isinstance(message, dict):
            raise ValueError(f"messages[{number}]: {message!r:.60}, an object allowed.")
        named = {_NAMES.get(key, key): field for key, field in message.items()}
        kept = {key: named.get(key) for key in ("role", "content")}
        if not all(isinstance(field, str) for field in kept.values()):
            raise ValueError(
                f"messages[{number}]: {message!r:.60}, a role and a content allowed, "
                "both text."
            )
        role = str(kept["role"])
        messages.append({**kept, "role": _ROLES.get(role, role)})
    return messages


FORMAT = rows.Format({"messages": "messages"}, _row)
