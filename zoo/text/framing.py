"""The tokens that stand around a text: one rule, for training and for serving.

A model that sees the whole text reads all that its tokenizer's post-processor adds,
such as [CLS] and [SEP]. A language model goes on behind a text. So it reads only what
stands before one, such as `<s>`. A source has an end token in any case, and so has a
target.
"""

from typing import Any, NamedTuple

from zoo.text.importers import post_processor
from zoo.text.tokenizer import Tokenizer


class Frame(NamedTuple):
    """The ids around a text.

    Attributes:
      before: the ids before a text.
      after: the ids after a text.
      empty: the ids in place of a text without tokens, where nothing stands around it:
        the end token, or nothing if the tokenizer has none.
    """

    before: list[int]
    after: list[int]
    empty: list[int]

    @property
    def size(self) -> int:
        """How many tokens stand around each text."""
        return len(self.before) + len(self.after)

    def around(self, ids: list[int]) -> list[int]:
        """The ids of a text and of what stands around it."""
        return [*self.before, *ids, *self.after] or self.empty


def frame(tokenizer: Tokenizer, config: Any) -> Frame:
    """What stands around a text that a model reads.

    Args:
      tokenizer: of the model.
      config: of the model. The kind of its `body` decides, if it has one.

    Raises:
      ValueError: the post-processor does more than to put tokens around a text.
    """
    body = getattr(config, "body", None) or config
    if body.task == "generate":
        before, after = tokenizer.prefix, []
    else:
        before, after = post_processor.frame(tokenizer.json)
    if body.task == "seq2seq" and not after and tokenizer.end_id is not None:
        after = [tokenizer.end_id]
    if before or after or tokenizer.end_id is None:
        return Frame(before, after, [])
    return Frame(before, after, [tokenizer.end_id])
