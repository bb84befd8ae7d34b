"""The prompts of a run, with the examples that rewards read."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from trainers.run import Data
from zoo.data import formats, splits
from zoo.data.sources.examples import cell
from zoo.text.tokenizer import Tokenizer


class Prompt(NamedTuple):
    """One prompt.

    Attributes:
      tokens: ids, at least one.
      text: its text; that of a chat is what the template writes.
      example: the whole example, with all its columns.
      where: the place of the example, such as its file and line.
    """

    tokens: list[int]
    text: str
    example: dict[str, Any]
    where: str = ""


def read(
    examples: Sequence[splits.Numbered], data: Data, tokenizer: Tokenizer, longest: int
) -> list[Prompt]:
    """The prompts of examples in the format "prompts".

    Args:
      examples: with their places.
      data: its fields, and what it does with bad and long prompts.
      tokenizer: of the model.
      longest: the most tokens of a prompt.

    Raises:
      ValueError: an example is broken, or a prompt is too long.
    """
    format = formats.BY_NAME["prompts"]
    column = formats.rows.columns(format, data.fields)["prompt"]
    rows = formats.rows.read(
        examples,
        format,
        tokenizer,
        longest,
        data.fields,
        data.too_long,
        data.max_bad_rows,
    )
    found = []
    for row, number in enumerate(rows.numbers):
        tokens = rows.tokens[rows.starts[row] : rows.starts[row + 1]].tolist()
        where, example = examples[number]
        assert isinstance(example, dict)
        text = formats.prompts.text_of(cell(example, column), tokenizer)
        found.append(Prompt(tokens, text, example, where))
    return found
