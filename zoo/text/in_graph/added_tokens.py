"""Added tokens, such as `<|im_end|>`: text that is one token wherever it stands."""

import itertools
import re

import tensorflow as tf

from zoo.text.in_graph import pre_tokenizers, ragged_ops


class AddedTokens(tf.Module):
    """Cuts the text of some added tokens out of texts."""

    def __init__(self, tokens: list[dict]):
        """Builds the table.

        Args:
          tokens: entries of `added_tokens` in a tokenizer.json.
        """
        super().__init__()
        space = pre_tokenizers.character_class(r"\s")
        self._any = bool(tokens)
        # RE2 takes the first alternative that fits, `tokenizers` takes the longest.
        self._pattern = "|".join(
            f"[{space}]*" * token["lstrip"]
            + _literal(token["content"])
            + f"[{space}]*" * token["rstrip"]
            for token in sorted(tokens, key=lambda token: -len(token["content"]))
        )
        strips = any(token["lstrip"] or token["rstrip"] for token in tokens)
        self._edges = f"^[{space}]+|[{space}]+$" if strips else ""
        ids = {token["content"]: token["id"] for token in tokens}
        self._ids = ragged_ops.table(ids, tf.string, tf.int32, -1)

    def __bool__(self):
        return self._any

    def split(self, text_B: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
        """Cuts texts into parts.

        Returns:
          The parts, string [B, None]; and for each of the P parts the id of its added
          token, int32 [P], or -1 where the part is text.
        """
        edge = pre_tokenizers.SEPARATOR
        text_B = tf.strings.regex_replace(text_B, self._pattern, edge + rb"\0" + edge)
        parts_BP = pre_tokenizers.split(text_B)
        token_P = parts_BP.values
        if self._edges:
            token_P = tf.strings.regex_replace(token_P, self._edges, "")
        return parts_BP, self._ids.lookup(token_P)


def check(tokens: list[dict]) -> None:
    """Refuses added tokens that need more than to be cut out of a text.

    Args:
      tokens: entries of `added_tokens` that are searched for in the same text.

    Raises:
      ValueError: names the token and the property that the graph does not support.
    """
    strips = any(token["lstrip"] or token["rstrip"] for token in tokens)
    for token in tokens:
        text = token["content"]
        if not text or token["single_word"]:
            raise ValueError(f"added token {text!r} with single_word or without text")
        if strips and text != text.strip():
            raise ValueError(f"added token {text!r} with spaces, others with strip")
    # `tokenizers` searches for one kind after the other, so overlaps change its result.
    for one, other in itertools.permutations(tokens, 2):
        kinds = [(token["special"], token["normalized"]) for token in (one, other)]
        if kinds[0] != kinds[1] and _overlap(one["content"], other["content"]):
            raise ValueError(f"added tokens {one['content']!r}, {other['content']!r}")


def _overlap(one, other):
    """Whether `other` is inside `one`, or starts at its end."""
    return other in one or any(
        one.endswith(other[:size]) for size in range(1, len(other))
    )


def _literal(text):
    """The regular expression of RE2 that matches just this text."""
    return re.sub(r"\W", lambda found: rf"\x{{{ord(found[0]):x}}}", text)
