"""Renders messages as the text, and as the tokens, that a chat model was trained on.

The tokenizer's chat template gives the form, as in transformers' `apply_chat_template`.
Neither the template nor the messages are trusted. The template runs in a sandbox
(`zoo.text.chat.sandbox`). A message that spells a special token, such as `<|im_end|>`,
becomes ordinary tokens: only the template's own text becomes special tokens.
"""

import functools
from collections.abc import Mapping, Sequence

from zoo.text.chat import special_tokens
from zoo.text.chat.sandbox import Template
from zoo.text.tokenizer import NAMED_TOKENS, Tokenizer

Messages = Sequence[Mapping[str, str]]

_PRIVATE = range(0xF0000, 0xFFFFE)  # private-use characters; no text has them all


def render(
    tokenizer: Tokenizer,
    messages: Messages,
    add_generation_prompt: bool = True,
    **variables,
) -> str:
    """The text of a chat.

    Args:
      tokenizer: has a chat template.
      messages: at least one; each has a `role` and a `content`, both text.
      add_generation_prompt: whether the text ends where the model's answer begins.
      **variables: of the template, such as `enable_thinking`.

    Raises:
      ValueError: the tokenizer has no template, a message has another form, or the
        template refuses the chat.
    """
    return render_with(
        template(tokenizer),
        messages,
        add_generation_prompt=add_generation_prompt,
        **{**named_tokens(tokenizer), **variables},
    )


def encode(
    tokenizer: Tokenizer,
    messages: Messages,
    add_generation_prompt: bool = True,
    **variables,
) -> list[int]:
    """The tokens of a chat; only the template's text becomes special tokens.

    Args and errors are those of `render`.

    Raises:
      ValueError: also where the template treats a special token in a content in a way
        of its own.
    """
    text = render(tokenizer, messages, add_generation_prompt, **variables)
    marking = _marking(tokenizer.json)
    if not any(marking.found(message["content"]) for message in messages):
        return tokenizer.encode(text, special=True)
    # Names in contents are hidden before rendering; names that remain are the
    # template's own and are renamed. A tokenizer that knows only the new names then
    # encodes the contents as ordinary text.
    unused = (c for c in map(chr, _PRIVATE) if c not in text)
    hide, mark = next(unused), next(unused)
    hidden = [
        {**message, "content": marking.hidden(message["content"], hide)}
        for message in messages
    ]
    marked = render(tokenizer, hidden, add_generation_prompt, **variables)
    if marking.shown(marked, hide) != text:
        raise ValueError(
            "messages: the chat template treats a special token in a content in a way "
            "of its own; leave it out."
        )
    marked = marking.shown(marking.renamed(marked, mark), hide)
    engine, ids = _engine(tokenizer.json, mark)
    found = engine.encode(marked, add_special_tokens=False).ids
    return [ids.get(i, i) for i in found]


def template(tokenizer: Tokenizer) -> Template:
    """The chat template of a tokenizer; among several, the one named "default".

    Raises:
      ValueError: the tokenizer has no template, or the template does not compile.
    """
    source = tokenizer.config.get("chat_template")
    if isinstance(source, list):
        named = {entry["name"]: entry["template"] for entry in source}
        if "default" not in named:
            raise ValueError(f"chat_template: {sorted(named)}, but none named default.")
        source = named["default"]
    if source is None:
        raise ValueError("chat_template: the tokenizer has none, and messages need it.")
    if not isinstance(source, str) or not source:
        raise ValueError(f"chat_template: {source!r}, a template allowed.")
    return _template(source)


def named_tokens(tokenizer: Tokenizer) -> dict[str, str]:
    """The tokens that a template reads by name, such as `bos_token`."""
    given = {name: tokenizer.config.get(name) for name in NAMED_TOKENS}
    return {
        name: value["content"] if isinstance(value, dict) else value
        for name, value in given.items()
        if value
    }


def render_with(template: Template, messages: Messages, **variables) -> str:
    """The text that a template writes for a chat.

    Args:
      template: compiled.
      messages: as for `render`.
      **variables: of the template, such as `bos_token`.

    Raises:
      ValueError: a message has another form, or the template refuses the chat.
    """
    if not messages:
        raise ValueError("messages: none, at least 1 allowed.")
    for number, message in enumerate(messages):
        texts = (isinstance(value, str) for value in message.values())
        if set(message) != {"role", "content"} or not all(texts):
            raise ValueError(
                f"messages[{number}]: {dict(message)!r}, a role and a content allowed, "
                "both text."
            )
    return template.render(
        messages=[dict(message) for message in messages],
        tools=None,
        documents=None,
        **variables,
    )


@functools.lru_cache(8)
def _template(source):
    return Template(source)


@functools.lru_cache(8)
def _marking(tokenizer_json):
    return special_tokens.Marking(tokenizer_json)


@functools.lru_cache(8)
def _engine(tokenizer_json, mark):
    return _marking(tokenizer_json).engine(mark)
