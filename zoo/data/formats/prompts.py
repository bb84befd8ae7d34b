"""Prompts that a model answers while it trains: a text, or the messages of a chat.

A prompt has the tokens that a server would send: a text those of the exported
`generate` signature, a chat those of the exported `chat` signature. The other columns
of an example are not read here; rewards read them.
"""

from typing import Any

from zoo.data.formats import chat, rows
from zoo.text.chat import rendering
from zoo.text.tokenizer import Tokenizer


def _row(values: dict[str, Any], tokenizer: Tokenizer) -> rows.Row:
    """The row of one prompt; no token of it is learnt.

    Raises:
      ValueError: the prompt is neither a text nor messages, it ends with an answer, or
        it is empty and the tokenizer has no end token.
    """
    prompt = values["prompt"]
    if isinstance(prompt, str):
        tokens = [*tokenizer.prefix, *tokenizer.encode(prompt)]
        if not tokens:
            if tokenizer.end_id is None:
                raise ValueError("prompt: empty, and the tokenizer has no end token.")
            tokens = [tokenizer.end_id]
    else:
        tokens = rendering.encode(tokenizer, _messages(prompt))
    return rows.Row(tokens, [0.0] * len(tokens))


def text_of(prompt: Any, tokenizer: Tokenizer) -> str:
    """The text of a prompt; that of messages is what the chat template writes.

    Raises:
      ValueError: as for the row of the prompt.
    """
    if isinstance(prompt, str):
        return prompt
    return rendering.render(tokenizer, _messages(prompt))


def _messages(prompt) -> list[dict[str, str]]:
    """The messages of a chat that waits for an answer."""
    if not isinstance(prompt, list):
        raise ValueError(f"prompt: {prompt!r:.60}, a text or messages allowed.")
    messages = chat.messages_of(prompt)
    if messages[-1]["role"] == "assistant":
        raise ValueError(
            f"messages[{len(messages) - 1}]: the last message is the assistant's, so "
            "nothing asks for an answer; leave it out."
        )
    return messages


FORMAT = rows.Format({"prompt": "prompt"}, _row, makes="prompts")
