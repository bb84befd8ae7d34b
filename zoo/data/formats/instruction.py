"""Instructions with an optional input and an output, in Alpaca's text (Taori et al.
2023, github.com/tatsu-lab/stanford_alpaca).
"""

from typing import Any

from zoo.data.formats import rows
from zoo.text.tokenizer import Tokenizer

_ABOUT = "Below is an instruction that describes a task"
_PAIRED = ", paired with an input that provides further context"
_ASKS = ". Write a response that appropriately completes the request.\n\n"


def text(instruction: str, given: str = "") -> str:
    """The prompt of an instruction; a server's client writes the same."""
    paired = _PAIRED if given else ""
    section = f"### Input:\n{given}\n\n" if given else ""
    return (
        f"{_ABOUT}{paired}{_ASKS}### Instruction:\n{instruction}\n\n{section}"
        "### Response:\n"
    )


def _row(values: dict[str, Any], tokenizer: Tokenizer) -> rows.Row:
    """The row of an instruction and its output."""
    given = rows.text_of(values, "input") if values.get("input") else ""
    prompt = text(rows.text_of(values, "instruction"), given)
    return rows.completion(prompt, rows.text_of(values, "output"), tokenizer)


FORMAT = rows.Format(
    {"instruction": "instruction", "input": "input", "output": "output"},
    _row,
    optional=("input",),
)
