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
    messages = messages_of(values["messages"])
    tokens = rendering.encode(tokenizer, messages, add_generation_prompt=False)
    weights = [0.0] * len(tokens)
    for number, message in enumerate(messages):
        if message["role"] == "assistant":
            first, last = span(tokenizer, messages, number, tokens)
            weights[first:last] = [1.0] * (last - first)
    if not any(weights):
        raise ValueError("messages: none is the assistant's, so nothing is learnt.")
    last = len(weights) - weights[::-1].index(1.0)  # nothing is learnt behind it
    return rows.Row(tokens[:last], weights[:last])


def span(tokenizer, messages, number, tokens) -> tuple[int, int]:
    """Where an assistant's message begins and ends among the tokens of its chat.

    Args:
      tokenizer: has the chat template.
      messages: the whole chat, or its first messages.
      number: of the assistant's message.
      tokens: of the whole chat.

    Returns:
      The place of the first token that a server would generate, and the place behind
      the token that ends the message.

    Raises:
      ValueError: the template writes a longer chat in another way than the shorter
        one, or has no generation prompt for what it writes before an answer.
    """
    before = rendering.encode(tokenizer, messages[:number]) if number else []
    through = rendering.encode(
        tokenizer, messages[: number + 1], add_generation_prompt=False
    )
    if number:
        _check_prompt(tokenizer, messages, number)
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


def _check_prompt(tokenizer, messages, number) -> None:
    """Refuses a template that introduces an answer in training, but not for a server.

    Some templates need no generation prompt: the question's own end introduces the
    answer, as Llama 2's [/INST] does. Then the answer's content follows at once.
    """
    asked = rendering.render(tokenizer, messages[:number])
    if asked != rendering.render(tokenizer, messages[:number], False):
        return  # the prompt introduces the answer
    whole = rendering.render(tokenizer, messages[: number + 1], False)
    answer, content = whole[len(asked) :], messages[number]["content"].strip()
    if whole.startswith(asked) and not answer.lstrip().startswith(content[:20]):
        raise ValueError(
            f"messages[{number}]: the chat template writes {answer[:30]!r} before the "
            "answer, but no generation prompt, which a server needs to ask for one; "
            "complete its add_generation_prompt."
        )


def messages_of(value: Any) -> list[dict[str, str]]:
    """The messages of an example, with `role` and `content`.

    Raises:
      ValueError: the value is no list of messages.
    """
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
