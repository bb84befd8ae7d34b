"""What formats of single examples have in common: rows of tokens with loss weights."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from zoo.data.sources.examples import Example
from zoo.fields import one_of, suggest
from zoo.text.tokenizer import Tokenizer

TOO_LONG = ("error", "drop", "cut")
_SHOWN = 3  # bad rows that a message names


class Row(NamedTuple):
    """One example, or one text of an example that is a group.

    Attributes:
      tokens: ids [T], at least two; a text of a group may have one.
      weights: [T], the loss weight of each token as a target; the first has none.
      tail: how many tokens at the end stay where a row is cut, such as [SEP].
    """

    tokens: list[int]
    weights: list[float]
    tail: int = 0


class Rows(NamedTuple):
    """Many examples, one after the other.

    Attributes:
      tokens: int32 [N].
      weights: float32 [N].
      starts: int64 [R + 1]: row i is `tokens[starts[i] : starts[i + 1]]`.
      counts: how many examples were read, dropped as bad, dropped as too long, and cut.
      groups: int64 [E + 1]: the rows of example i are `groups[i]` to
        `groups[i + 1] - 1`; None where each example is one row.
    """

    tokens: np.ndarray
    weights: np.ndarray
    starts: np.ndarray
    counts: dict[str, int]
    groups: np.ndarray | None = None


class Format(NamedTuple):
    """How an example becomes a row.

    Attributes:
      fields: what the format reads, to the name of the column that holds it.
      optional: those of `fields` that an example may lack.
      row: `row(values, tokenizer)`: makes the row of an example's values by field, or
        the list of its rows where an example is a group. It raises ValueError for a
        bad example.
      grouped: whether an example is a group of rows.
    """

    fields: dict[str, str]
    row: Callable[[dict[str, Any], Tokenizer], Row | list[Row]]
    optional: tuple[str, ...] = ()
    grouped: bool = False


def columns(format: Format, renamed: Iterable[str]) -> dict[str, str]:
    """The column of each field of a format.

    Args:
      format: whose fields they are.
      renamed: entries "field=column" for columns of another name.

    Raises:
      ValueError: an entry of another form, or an unknown field.
    """
    found = dict(format.fields)
    for entry in renamed:
        field, equals, column = entry.partition("=")
        if not equals or not column:
            raise ValueError(f"config.data.fields: {entry!r}, field=column allowed.")
        one_of("config.data.fields", field, format.fields)
        found[field] = column
    return found


def read(
    examples: Iterable[tuple[str, Example | ValueError]],
    format: Format,
    tokenizer: Tokenizer,
    length: int,
    renamed: Iterable[str] = (),
    too_long: str = "error",
    max_bad_rows: int = 0,
) -> Rows:
    """Makes the rows of examples.

    Args:
      examples: where an example is from (file and line), and the example, or the error
        that reading it gave.
      format: makes the rows.
      tokenizer: of the model.
      length: the most tokens that a row may have.
      renamed: entries "field=column".
      too_long: what happens to a longer row: "error", "drop", or "cut" at its end.
      max_bad_rows: how many bad examples are dropped and counted before one is an
        error.

    Raises:
      ValueError: more bad examples than allowed, a row that is too long, or no row.
    """
    one_of("config.data.too_long", too_long, TOO_LONG)
    names = columns(format, renamed)
    rows: list[Row] = []
    groups = [0]
    counts = {"read": 0, "bad": 0, "dropped": 0, "cut": 0}
    bad: list[str] = []
    for where, example in examples:
        counts["read"] += 1
        try:
            if isinstance(example, ValueError):
                raise example
            made = format.row(_values(example, format, names), tokenizer)
        except ValueError as error:
            message = str(error)
            bad.append(message if message.startswith(where) else f"{where}: {message}")
            counts["bad"] += 1
            if len(bad) > max_bad_rows:
                raise ValueError(_too_many(bad, max_bad_rows)) from None
            continue
        group = made if isinstance(made, list) else [made]
        longest = max(len(row.tokens) for row in group)
        if longest > length:
            if too_long == "error":
                raise ValueError(
                    f"{where}: {longest} tokens, at most {length} allowed; "
                    "config.data.too_long may be drop or cut."
                )
            group = [_cut(row, length) for row in group]
            if too_long == "drop" or not all(any(row.weights[1:]) for row in group):
                counts["dropped"] += 1
                continue
            counts["cut"] += 1
        rows += group
        groups.append(len(rows))
    if not rows:
        raise ValueError(f"There is no row to learn from: {counts}.")
    starts = np.cumsum([0, *(len(row.tokens) for row in rows)], dtype=np.int64)
    return Rows(
        np.concatenate([np.array(row.tokens, np.int32) for row in rows]),
        np.concatenate([np.array(row.weights, np.float32) for row in rows]),
        starts,
        counts,
        np.array(groups, np.int64) if format.grouped else None,
    )


def text_of(values: dict[str, Any], field: str) -> str:
    """The text of a field.

    Raises:
      ValueError: the field holds no text.
    """
    value = values[field]
    if not isinstance(value, str):
        raise ValueError(f"{field}: {value!r:.60}, a text allowed.")
    return value


def completion(prompt: str, answer: str, tokenizer: Tokenizer) -> Row:
    """The row of a prompt and its answer; only the answer and its end are learnt.

    Prompt and answer are tokenized apart, as a server tokenizes the prompt alone.

    Raises:
      ValueError: the answer is empty, or the tokenizer has no end token.
    """
    if not answer:
        raise ValueError("the answer is empty.")
    if tokenizer.end_id is None:
        raise ValueError("the tokenizer has no end token, which must end an answer.")
    given = [*tokenizer.prefix, *tokenizer.encode(prompt)]
    given = given or [tokenizer.end_id]
    learnt = [*tokenizer.encode(answer), tokenizer.end_id]
    return Row(given + learnt, [0.0] * len(given) + [1.0] * len(learnt))


def _cut(row: Row, length: int) -> Row:
    """The row with at most `length` tokens, of which the last `tail` stay."""
    if len(row.tokens) <= length:
        return row
    first, last = length - row.tail, len(row.tokens) - row.tail
    return Row(
        row.tokens[:first] + row.tokens[last:],
        row.weights[:first] + row.weights[last:],
        row.tail,
    )


def _values(example: Example, format: Format, names: dict[str, str]) -> dict[str, Any]:
    """The values of an example by the format's fields."""
    values = {}
    for field, column in names.items():
        if column in example:
            values[field] = example[column]
        elif field not in format.optional:
            raise ValueError(f"no column {column!r}.{suggest(column, example)}")
    return values


def _too_many(bad: list[str], allowed: int) -> str:
    """The message about bad rows; it names the first ones."""
    if allowed == 0:
        return bad[0]
    shown = "; ".join(bad[:_SHOWN])
    return f"{len(bad)} bad rows, config.data.max_bad_rows {allowed} allowed: {shown}"
