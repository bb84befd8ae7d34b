"""What formats of single examples have in common: rows of tokens with loss weights."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from zoo.data.formats.labels import Labels
from zoo.data.sources.examples import ABSENT, Example, cell
from zoo.data.sources.examples import columns as known
from zoo.fields import one_of, suggest
from zoo.text.framing import Frame
from zoo.text.tokenizer import Tokenizer

TOO_LONG = ("error", "drop", "cut")
_GROUPED = ("pairs", "preferences", "seq2seq")
_SHOWN = 3  # bad rows that a message names
_NO_FRAME = Frame([], [], [])


class Row(NamedTuple):
    """One example, or one text of an example that is a group.

    Attributes:
      tokens: ids [T], at least two of a row without a label.
      weights: [T], the loss weight of each token as a target; the first has none. Of a
        tagged row, 1 for each token with a label.
      label: of a labelled row, as the example has it; of a tagged row, a list [T] of
        them, None where the weight is 0.
      kept: how many tokens at the end a cut keeps.
    """

    tokens: list[int]
    weights: list[float]
    label: Any = None
    kept: int = 0


class Rows(NamedTuple):
    """Many examples, one after the other.

    Attributes:
      tokens: int32 [N].
      weights: float32 [N].
      starts: int64 [R + 1]: row i is `tokens[starts[i] : starts[i + 1]]`.
      counts: how many rows were read, dropped as bad, dropped as too long, and cut.
      labels: int32 [R] classes or float32 [R] values of labelled rows; int32 [N] of
        tagged rows, 0 where the weight is 0; float32 [R] margins of preferences, if any
        has one; of length 0 without labels.
      numbers: of each row, the number of its example among those that were read.
      groups: int64 [E + 1]: the rows of example i are `groups[i]` to
        `groups[i + 1] - 1`; None where each example is one row.
    """

    tokens: np.ndarray
    weights: np.ndarray
    starts: np.ndarray
    counts: dict[str, int]
    labels: np.ndarray = np.zeros(0, np.int32)
    numbers: tuple[int, ...] = ()
    groups: Any = None

    @property
    def about(self) -> str:
        """The rows that were read and left out, as text."""
        return ", ".join(f"{count} {name}" for name, count in self.counts.items())


class Format(NamedTuple):
    """How an example becomes a row.

    Attributes:
      fields: what the format reads, to the name of the column that holds it.
      optional: those of `fields` that an example may lack.
      row: `row(values, tokenizer)`: makes the row of an example's values by field, or
        the list of its rows where an example is a group. It raises ValueError for a
        bad example. Of "seq2seq" the second argument is a `seq2seq.Sides`.
      makes: "rows" (the tokens after the first are learnt), "prompts" (no token is
        learnt), "labelled" (one label a row), "tagged" (a label a token), "pairs"
        (groups of texts), "preferences" (groups of rows) or "seq2seq" (groups of a
        source and a target). `read` puts the tokens that stand around a text around
        the tokens of "labelled", "tagged" and "pairs".
    """

    fields: dict[str, str]
    row: Callable[[dict[str, Any], Any], Row | list[Row]]
    optional: tuple[str, ...] = ()
    makes: str = "rows"


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
    tokenizer: Tokenizer | Any,
    length: int | tuple[int, ...],
    renamed: Iterable[str] = (),
    too_long: str = "error",
    max_bad_rows: int = 0,
    labels: Labels | None = None,
    frame: Frame = _NO_FRAME,
) -> Rows:
    """Makes the rows of examples.

    Args:
      examples: where an example is from (file and line), and the example, or the error
        that reading it gave.
      format: makes the rows.
      tokenizer: of the model; of "seq2seq" a `seq2seq.Sides`.
      length: the most tokens that a row may have, or those of each row of a group.
      renamed: entries "field=column".
      too_long: what happens to a longer row: "error", "drop", or "cut" at its end,
        before the tokens that stand after a text.
      max_bad_rows: how many bad examples are dropped and counted before one is an
        error.
      labels: what labels may be; None for a format without labels.
      frame: what stands around a text.

    Raises:
      ValueError: more bad examples than allowed, a row that is too long, or no row.
    """
    one_of("config.data.too_long", too_long, TOO_LONG)
    names = columns(format, renamed)
    rows: list[Row] = []
    numbers: list[int] = []
    groups = [0]
    counts = {"read": 0, "bad": 0, "dropped": 0, "cut": 0}
    bad: list[str] = []
    for where, example in examples:
        counts["read"] += 1
        try:
            if isinstance(example, ValueError):
                raise example
            made = format.row(_values(example, format, names), tokenizer)
            group = made if isinstance(made, list) else [made]
            if labels is not None:
                group = [
                    row._replace(label=_read_label(row.label, labels)) for row in group
                ]
            if not frame.around([]) and not all(row.tokens for row in group):
                raise ValueError("the text has no tokens.")
        except ValueError as error:
            message = str(error)
            bad.append(message if message.startswith(where) else f"{where}: {message}")
            counts["bad"] += 1
            if len(bad) > max_bad_rows:
                raise ValueError(_too_many(bad, max_bad_rows)) from None
            continue
        most = (length,) * len(group) if isinstance(length, int) else length
        sizes = [len(row.tokens) + frame.size for row in group]
        over = [i for i, tokens in enumerate(sizes) if tokens > most[i]]
        if over:
            if too_long == "error":
                i = max(over, key=lambda i: sizes[i])
                which = f"{list(format.fields)[i]} of " * (format.makes == "seq2seq")
                others = "drop" if format.makes == "prompts" else "drop or cut"
                raise ValueError(
                    f"{where}: {which}{sizes[i]} tokens, at most {most[i]} allowed; "
                    f"config.data.too_long may be {others}."
                )
            group = [
                _cut(row, n - frame.size) for row, n in zip(group, most, strict=True)
            ]
            first = 1 if format.makes in ("rows", "preferences", "seq2seq") else 0
            learnt = format.makes == "prompts" or all(
                any(row.weights[first:]) for row in group
            )
            if format.makes == "preferences":  # two answers may differ behind the cut
                learnt &= all(row.tokens != group[0].tokens for row in group[1:])
            if too_long == "drop" or not learnt:
                counts["dropped"] += 1
                continue
            counts["cut"] += 1
        rows += [_framed(row, frame) for row in group]
        groups.append(len(rows))
        numbers += [counts["read"] - 1] * len(group)
    if not rows:
        raise ValueError(f"There is no row to learn from: {counts}.")
    starts = np.cumsum([0, *(len(row.tokens) for row in rows)], dtype=np.int64)
    return Rows(
        np.concatenate([np.array(row.tokens, np.int32) for row in rows]),
        np.concatenate([np.array(row.weights, np.float32) for row in rows]),
        starts,
        counts,
        _labels(rows, format.makes, labels),
        tuple(numbers),
        np.array(groups) if format.makes in _GROUPED else None,
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


def _read_label(label: Any, labels: Labels) -> Any:
    """The index or value of a label; a list of them of a tagged row, 0 for None."""
    if isinstance(label, list):
        return [0 if one is None else labels.read(one) for one in label]
    return labels.read(label)


def _cut(row: Row, length: int) -> Row:
    """A row of `length` tokens at most: its first ones, and the last that it keeps."""
    gone = slice(max(length, 0) - row.kept, len(row.tokens) - row.kept)
    if gone.start >= gone.stop:
        return row
    tokens, weights = list(row.tokens), list(row.weights)
    del tokens[gone], weights[gone]
    cut = row._replace(tokens=tokens, weights=weights)
    if isinstance(row.label, list):
        cut = cut._replace(label=row.label[:length])
    return cut


def _framed(row: Row, frame: Frame) -> Row:
    """A row with the tokens that stand around its text; they have no label."""
    tokens = frame.around(row.tokens)
    before = len(frame.before)
    after = len(tokens) - before - len(row.tokens)
    if isinstance(row.label, list):
        row = row._replace(label=[0] * before + row.label + [0] * after)
    return Row(tokens, [0.0] * before + row.weights + [0.0] * after, row.label)


def _labels(rows: list[Row], makes: str, labels: Labels | None) -> np.ndarray:
    """The labels of all rows, or of all tokens of tagged rows."""
    if makes == "preferences" and any(row.label is not None for row in rows):
        return np.array([row.label or 0.0 for row in rows], np.float32)
    if labels is None:
        return np.zeros(0, np.int32)
    kind = np.int32 if labels.names else np.float32
    if makes == "tagged":
        return np.concatenate([np.array(row.label, kind) for row in rows])
    return np.array([row.label for row in rows], kind)


def _values(example: Example, format: Format, names: dict[str, str]) -> dict[str, Any]:
    """The values of an example by the format's fields."""
    values = {}
    for field, column in names.items():
        found = cell(example, column)
        # a row of a table has all columns: null stands where an example lacks one
        if field in format.optional and (found is ABSENT or found is None):
            continue
        if found is ABSENT:
            raise ValueError(f"no column {column!r}.{suggest(column, known(example))}")
        values[field] = found
    return values


def _too_many(bad: list[str], allowed: int) -> str:
    """The message about bad rows; it names the first ones."""
    if allowed == 0:
        return bad[0]
    shown = "; ".join(bad[:_SHOWN])
    return f"{len(bad)} bad rows, config.data.max_bad_rows {allowed} allowed: {shown}"
