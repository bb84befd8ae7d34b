"""The feed of single examples: prompts, instructions and chats, one row each."""

import sys

import numpy as np

from trainers import evaluation
from trainers.feeds import generated
from trainers.feeds.feed import Evaluate, Feed
from trainers.roles import Start
from trainers.run import Run
from zoo.data import batches, formats, mixtures, splits
from zoo.text.tokenizer import Tokenizer


def make(run: Run, start: Start, tokenizer: Tokenizer, window: int) -> Feed:
    """Makes the rows of all examples, and holds out some of them for evaluation.

    Args:
      run: its `data.format` is one of `formats.BY_NAME`.
      start: what the run starts from.
      tokenizer: of the model.
      window: the most inputs of a row, in tokens; or of a window of packed rows.

    Raises:
      ValueError: the source or a row is broken, or too many are; or the answers to
        held-out rows cannot be generated or scored.
    """
    data, format = run.data, formats.BY_NAME[run.data.format]

    def read(examples, length):
        return formats.rows.read(
            examples,
            format,
            tokenizer,
            length,
            data.fields,
            data.too_long,
            data.max_bad_rows,
        )

    parts = mixtures.parts(data.source, data.mixture)
    train, valid = mixtures.split(splits.examples, parts, data.valid, data.hold_out)
    # a row that is split where a window ends may have any length
    longest = sys.maxsize if data.pack == "concat" else window + 1
    of_parts = [read(examples, longest) for examples in train]
    rows = mixtures.join_rows(of_parts)
    held_out = read(valid, longest) if valid else None
    for part, own in zip(parts, of_parts, strict=True):
        print(f"{part.source}: {own.about}")
    task = generated.task(run, start, tokenizer, held_out)
    train_from, count, length = _batches(run, rows, of_parts, parts, window)
    unit = ("tokens", data.batch * length) if data.pack else ("rows", data.batch)

    evaluate: Evaluate | None = None
    if held_out is not None:
        at_once = evaluation.rows_at_once(run)
        if data.pack:
            packed = batches.pack(held_out.starts, window, data.pack)
            dataset = batches.packed_eval(*held_out[:2], packed, at_once)
        else:
            dataset = batches.eval_rows(*held_out[:3], at_once)
        sums = evaluation.make_evaluate(run.objective)

        def evaluate_rows(roles):
            metrics = sums(roles, dataset)
            if task is not None:
                model = roles[run.objective.trains[0]]
                scored = task.measures(model, tokenizer)
                metrics |= {name: one.value for name, one in scored.items()}
            return metrics

        evaluate = evaluate_rows

    return Feed(
        train_from,
        evaluate,
        count,
        unit,
        tokenizer,
        lambda roles: None,
        lambda roles: "",
        mixtures.fingerprint(parts, data.valid),
        length,
    )


def _batches(run, rows, of_parts, parts, window):
    """The function to the batches of a step on, rows or windows in an epoch, length."""
    data, shares = run.data, [part.share for part in parts]
    counts = [len(own.starts) - 1 for own in of_parts]
    if not data.pack:

        def padded(number, roles):
            del roles
            return batches.row_batches(
                rows.tokens,
                rows.weights,
                rows.starts,
                data.batch,
                run.seed,
                start=number,
                counts=counts,
                shares=shares,
            )

        if data.mixture:
            print("\n".join(mixtures.about(parts, counts, "rows")))
        return padded, sum(counts), batches.bucket(max(np.diff(rows.starts)) - 1)

    packed = batches.pack(rows.starts, window, data.pack, counts)
    print(packed.about(data.pack))
    if data.mixture:
        print("\n".join(mixtures.about(parts, packed.windows, "windows")))

    def windows(number, roles):
        del roles
        return batches.packed_batches(
            rows.tokens,
            rows.weights,
            packed,
            data.batch,
            run.seed,
            start=number,
            shares=shares,
        )

    return windows, sum(packed.windows), window
