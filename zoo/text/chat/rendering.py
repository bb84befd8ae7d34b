"""Chats: messages to the text, and to the tokens, that a model was tuned on.

The form is the chat template of the tokenizer, rendered as transformers'
`apply_chat_template` does. User text is never trusted: a template of another cannot
reach out of its sandbox (`chat_sandbox`), and a message that spells a special token,
such as `<|im_end|>`, becomes ordinary tokens. Only the template's own text mints.
"""

import functools
import re
from collections.abc import Mapping, Sequence

import tokenizers

from zoo.text.chat.sandbox import Template
from zoo.text.tokenizer import Tokenizer

Messages = Sequence[Mapping[str, str]]

_NAMED = (
    "bos_token eos_token unk_token sep_token pad_token cls_token mask_token"
).split()
_PRIVATE = range(0xF0000, 0xFFFFE)  # of these a text leaves some unused


def render(
    tokenizer: Tokenizer,
    messages: Messages,
    add_generation_prompt: bool = True,
    **variables,
) -> str:
    """The text of a chat.

    Args:
      tokenizer: with a chat template.
      messages: each with a role and a content.
      add_generation_prompt: whether the answer is to follow.
      **variables: of the template, such as `enable_thinking`.

    Raises:
      ValueError: no template, messages of another form, or those that the template
        refuses.
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
    """The tokens of a chat; its special tokens are those of the template only.

    Args and errors are those of `render`.
    """
    text = render(tokenizer, messages, add_generation_prompt, **variables)
    special = _special(tokenizer.json)
    if not any(special.found(message["content"]) for message in messages):
        return tokenizer.encode(text, special=True)
    # What looks like a special token is hidden, the template's own ones get another
    # name, and an engine that knows only that name encodes what was hidden as text.
    unused = (c for c in map(chr, _PRIVATE) if c not in text)
    hide, mark = next(unused), next(unused)
    hidden = [
        {**message, "content": special.hidden(message["content"], hide)}
        for message in messages
    ]
    marked = render(tokenizer, hidden, add_generation_prompt, **variables)
    if special.shown(marked, hide) != text:
        raise ValueError(
            "messages: the chat template treats a special token in a content in a way "
            "of its own; leave it out."
        )
    marked = special.shown(special.renamed(marked, mark), hide)
    engine, ids = _engine(tokenizer.json, mark)
    found = engine.encode(marked, add_special_tokens=False).ids
    return [ids.get(i, i) for i in found]


def template(tokenizer: Tokenizer) -> Template:
    """The chat template of a tokenizer, of several the one named default.

    Raises:
      ValueError: it has none, or one that cannot be compiled.
    """
    source = tokenizer.config.get("chat_template")
    if isinstance(source, list):
        named = {entry["name"]: entry["template"] for entry in source}
        if "default" not in named:
            raise ValueError(f"chat_template: {sorted(named)}, but none named default.")
        source = named["default"]
    if not isinstance(source, str) or not source:
        raise ValueError(f"chat_template: {source!r}, a template allowed.")
    return _template(source)


def named_tokens(tokenizer: Tokenizer) -> dict[str, str]:
    """The tokens that a template knows by name, such as `bos_token`."""
    given = {name: tokenizer.config.get(name) for name in _NAMED}
    return {
        name: value["content"] if isinstance(value, dict) else value
        for name, value in given.items()
        if value
    }


def render_with(template: Template, messages: Messages, **variables) -> str:
    """The text of a chat by a template.

    Raises:
      ValueError: messages of another form, or those that the template refuses.
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


class _Special:
    """Finds the text of special tokens."""

    def __init__(self, names: list[str]):
        names = sorted(names, key=len, reverse=True)
        self._names = {name: number for number, name in enumerate(names)}
        self._any = re.compile("|".join(map(re.escape, names)) or "(?!)")
        # With what follows, the start of one at an end may become a whole one.
        self._starts = {name[:k] for name in names for k in range(1, len(name))}
        self._longest = max(map(len, names), default=0)

    def found(self, content):
        """Whether a content has a special token, or the start of one at its end."""
        return bool(self._any.search(content)) or self._start(content.rstrip()) > 0

    def hidden(self, content, hide):
        """The content with its special tokens in hexadecimal digits."""

        def digits(text):
            return f"{hide}{text.encode().hex()}{hide}" if text else ""

        text = content.rstrip()
        space = content[len(text) :]
        text = self._any.sub(lambda found: digits(found[0]), text)
        cut = len(text) - self._start(text)
        return text[:cut] + digits(text[cut:]) + space

    def shown(self, text, hide):
        """The inverse of `hidden`."""
        found = re.compile(f"{hide}([0-9a-f]+){hide}")
        return found.sub(lambda digits: bytes.fromhex(digits[1]).decode(), text)

    def renamed(self, text, mark):
        """The text with other names for special tokens."""
        return self._any.sub(lambda name: f"{mark}{self._names[name[0]]}{mark}", text)

    def engine(self, json_text, mark):
        """Encodes such names only as special, and what ids stand for its own ones."""
        engine = tokenizers.Tokenizer.from_str(json_text)
        engine.no_truncation()
        engine.no_padding()
        engine.encode_special_tokens = True
        ids = {}
        for number, token in engine.get_added_tokens_decoder().items():
            if token.special:
                name = self.renamed(token.content, mark)
                engine.add_tokens(
                    [
                        tokenizers.AddedToken(
                            name,
                            lstrip=token.lstrip,
                            rstrip=token.rstrip,
                            single_word=token.single_word,
                            normalized=False,
                        )
                    ]
                )
                ids[engine.token_to_id(name)] = number
        return engine, ids

    def _start(self, text):
        """How long the start of a special token at the end of a text is, or 0."""
        sizes = range(min(self._longest, len(text)), 0, -1)
        return next((size for size in sizes if text[-size:] in self._starts), 0)


@functools.lru_cache(8)
def _template(source):
    return Template(source)


@functools.lru_cache(8)
def _special(json_text):
    added = tokenizers.Tokenizer.from_str(json_text).get_added_tokens_decoder()
    return _Special([token.content for token in added.values() if token.special])


@functools.lru_cache(8)
def _engine(json_text, mark):
    return _special(json_text).engine(json_text, mark)
