"""Special tokens as bytes in texts that a graph joins.

A mark is a run of the byte 0xFE between two separators. UTF-8 has neither byte, so no
text of a user contains a mark.
"""

import tensorflow as tf
import tokenizers

from zoo.text.in_graph import added_tokens, pre_tokenizers
from zoo.text.tokenizer import Tokenizer

_MARK = b"\xfe"
_BESIDE = " x "


def marked(
    tokenizer: Tokenizer, texts: list[str]
) -> tuple[list[bytes], dict[bytes, int]]:
    """Replaces the special tokens in texts by marks.

    Args:
      tokenizer: the tokenizer that has the special tokens.
      texts: the parts of a chat template that stand between contents.

    Returns:
      The texts, and the id of the token that each mark stands for.

    Raises:
      ValueError: a special token strips spaces of the contents beside a text.
    """
    added = tokenizers.Tokenizer.from_str(tokenizer.json).get_added_tokens_decoder()
    special = [
        {"content": t.content, "id": i, "lstrip": t.lstrip, "rstrip": t.rstrip}
        for i, t in added.items()
        if t.special
    ]
    if not special:
        return [text.encode() for text in texts], {}
    parts_BP, token_P = added_tokens.AddedTokens(special).split(
        tf.constant([f"{_BESIDE}{text}{_BESIDE}" for text in texts])
    )
    rows = parts_BP.to_list(), parts_BP.with_values(token_P).to_list()
    edge, beside = pre_tokenizers.SEPARATOR, _BESIDE.encode()
    marks, found = {}, []
    for text, *row in zip(texts, *rows, strict=True):
        joined = b""
        for part, token in zip(*row, strict=True):
            if token >= 0:
                mark = marks.setdefault(token, _MARK * (len(marks) + 1))
                part = edge + mark + edge
            joined += part
        if not joined.startswith(beside) or not joined.endswith(beside):
            raise ValueError(
                f"chat template: a special token in {text!r} strips the spaces of the "
                "content beside it."
            )
        found.append(joined[len(beside) : -len(beside)])
    return found, {mark: token for token, mark in marks.items()}
