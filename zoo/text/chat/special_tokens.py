"""Special tokens, such as `<|im_end|>`, in text that is part template and part message.

Only a template's own text may become special tokens. In Python, `Marking` renames the
template's special tokens and hides those that a message spells. In a graph, `marked`
puts bytes in their place that no UTF-8 text has.
"""

import functools
import re

import tensorflow as tf
import tokenizers

from zoo.text.in_graph import added_tokens, pre_tokenizers
from zoo.text.tokenizer import Tokenizer

_MARK = b"\xfe"
_NEIGHBOUR = " x "


@functools.lru_cache(8)
def of(tokenizer_json: str) -> dict[int, tokenizers.AddedToken]:
    """The special tokens of a tokenizer.json, by id."""
    added = tokenizers.Tokenizer.from_str(tokenizer_json).get_added_tokens_decoder()
    return {number: token for number, token in added.items() if token.special}


class Marking:
    """Finds, hides and renames the names of a tokenizer's special tokens in text.

    Example, with `<s>` as the only special token, "H" as `hide` and "M" as `mark`: a
    content `a<s>` is hidden as `aH3c733eH`; the template's own `<s>` is renamed `M0M`.
    """

    def __init__(self, tokenizer_json: str):
        """Reads the special tokens of a tokenizer.json."""
        self._json = tokenizer_json
        tokens = [token.content for token in of(tokenizer_json).values()]
        names = sorted(tokens, key=len, reverse=True)
        self._names = {name: number for number, name in enumerate(names)}
        self._any = re.compile("|".join(map(re.escape, names)) or "(?!)")
        # A content that ends like `<|im_` may form a name with the text behind it.
        self._starts = {name[:k] for name in names for k in range(1, len(name))}
        self._longest = max(map(len, names), default=0)

    def found(self, content: str) -> bool:
        """Whether a content has a name, or ends with the start of one."""
        return bool(self._any.search(content)) or self._start(content.rstrip()) > 0

    def hidden(self, content: str, hide: str) -> str:
        """The content, with names as hexadecimal digits between two `hide`."""

        def digits(text):
            return f"{hide}{text.encode().hex()}{hide}" if text else ""

        text = content.rstrip()
        space = content[len(text) :]
        text = self._any.sub(lambda found: digits(found[0]), text)
        cut = len(text) - self._start(text)
        return text[:cut] + digits(text[cut:]) + space

    def shown(self, text: str, hide: str) -> str:
        """The inverse of `hidden`."""
        found = re.compile(f"{hide}([0-9a-f]+){hide}")
        return found.sub(lambda digits: bytes.fromhex(digits[1]).decode(), text)

    def renamed(self, text: str, mark: str) -> str:
        """The text, with the number of a name between two `mark`."""
        return self._any.sub(lambda name: f"{mark}{self._names[name[0]]}{mark}", text)

    def engine(self, mark: str) -> tuple[tokenizers.Tokenizer, dict[int, int]]:
        """A tokenizer that knows special tokens by their new names only.

        Returns:
          The tokenizer, and a dict from its new ids to the ids of the special tokens.
        """
        engine = tokenizers.Tokenizer.from_str(self._json)
        engine.no_truncation()
        engine.no_padding()
        engine.encode_special_tokens = True
        ids = {}
        for number, token in of(self._json).items():
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
        """The length of the start of a name at the end of a text, or 0."""
        sizes = range(min(self._longest, len(text)), 0, -1)
        return next((size for size in sizes if text[-size:] in self._starts), 0)


def marked(
    tokenizer: Tokenizer, texts: list[str]
) -> tuple[list[bytes], dict[bytes, int]]:
    """Replaces the special tokens of texts by marks, for a graph that joins the texts.

    A mark is a run of the byte 0xFE between two separators. UTF-8 has neither byte, so
    no content can spell a mark.

    Args:
      tokenizer: names the special tokens.
      texts: of a chat template; contents come between them.

    Returns:
      The texts with marks, and a dict from each mark to its token id.

    Raises:
      ValueError: a special token strips the spaces of a content beside its text.
    """
    special = [
        {"content": t.content, "id": i, "lstrip": t.lstrip, "rstrip": t.rstrip}
        for i, t in of(tokenizer.json).items()
    ]
    if not special:
        return [text.encode() for text in texts], {}
    parts_BP, token_P = added_tokens.AddedTokens(special).split(
        tf.constant([f"{_NEIGHBOUR}{text}{_NEIGHBOUR}" for text in texts])
    )
    rows = parts_BP.to_list(), parts_BP.with_values(token_P).to_list()
    separator, neighbour = pre_tokenizers.SEPARATOR, _NEIGHBOUR.encode()
    marks, found = {}, []
    for text, *row in zip(texts, *rows, strict=True):
        joined = b""
        for part, token in zip(*row, strict=True):
            if token >= 0:
                mark = marks.setdefault(token, _MARK * (len(marks) + 1))
                part = separator + mark + separator
            joined += part
        if not joined.startswith(neighbour) or not joined.endswith(neighbour):
            raise ValueError(
                f"chat template: a special token in {text!r} strips the spaces of the "
                "content beside it."
            )
        found.append(joined[len(neighbour) : -len(neighbour)])
    return found, {mark: token for token, mark in marks.items()}
