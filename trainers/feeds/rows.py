"""The feed of single examples: prompts, instructions and chats, one row each."""

import numpy as np

from trainers import evaluation
from trainers.feeds.feed import Evaluate, Feed
from trainers.run import Run
from zoo.data import batches, fingerprints, formats, splits
from zoo.text.tokenizer import Tokenizer


def make(run: Run, tokenizer: Tokenizer, window: int) -> Feed:
    """Makes the rows of all examples, and holds out some of them for evaluation.

    Args:
      run: its `data.format` is one of `formats.BY_NAME`.
      tokenizer: of the model.
      window: the most inputs of a row, in tokens.

    Raises:
      ValueError: the source or a row is broken, or too many are.
    """
    data, format = run.data, formats.BY_NAME[run.data.format]

    def read(examples):
        return formats.rows.read(
            examples,
            format,
            tokenizer,
            window + 1,
            data.fields,
            data.too_long,
            data.max_bad_rows,
        )

    train, valid = splits.examples(data.source, data.valid, data.hold_out)
    rows = read(train)
    held_out = read(valid) if valid else None
    print(f"{data.source}: {_counts(rows)}")

    def train_from(number, roles):
        del roles
        return batches.row_batches(*rows[:3], data.batch, run.seed, start=number)

    evaluate: Evaluate | None = None
    if held_out is not None:
        dataset = batches.eval_rows(*held_out[:3], evaluation.rows_at_once(run))
        sums = evaluation.make_evaluate(run.objective)

        def evaluate_rows(roles):
            return sums(roles, dataset)

        evaluate = evaluate_rows

    return Feed(
        train_from,
        evaluate,
        len(rows.starts) - 1,
        ("rows", data.batch),
        tokenizer,
        lambda roles: None,
        lambda roles: "",
        fingerprints.of_run(data.source, data.valid),
        batches.bucket(max(np.diff(rows.starts)) - 1),
    )


def _counts(rows) -> str:
    """The rows that were read and left out, as text."""
    return ", ".join(f"{count} {name}" for name, count in rows.counts.items())
