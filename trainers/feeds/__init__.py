"""Feeds: where the Batches of a run come from, by the name an objective gives.

A feed's position is one integer, the number of the next batch, so a checkpoint holds
it by holding the step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from trainers.run import Run
from zoo.data import batches, cleaning, formats, sources, tables
from zoo.text import tokenizer as tokenizers


class Feed(NamedTuple):
    """The data of a run.

    Attributes:
      train: `train(start)` is the endless dataset of Batches from number `start` on.
      valid: the finite dataset of evaluation, or None.
      valid_bytes: of the text in `valid`; 0 for tables.
      steps_per_epoch: Batches in one pass, rounded up.
      units: what a step consumes, for the progress bar: ("tokens", 8192).
      tokenizer: a Tokenizer, or None.
      prepare: `prepare(model)`, called once before the first step.
    """

    train: Callable[[int], tf.data.Dataset]
    valid: tf.data.Dataset | None
    valid_bytes: int
    steps_per_epoch: int
    units: tuple[str, int]
    tokenizer: tokenizers.Tokenizer | None
    prepare: Callable[[Any], None]


def make(run: Run) -> Feed:
    """Reads the data that the Run's objective asks for.

    Raises:
      ValueError: data that are missing, empty, broken, or do not fit the model.
    """
    return {"text": text, "table": table}[run.objective.feed](run)


def text(run: Run) -> Feed:
    """Documents, tokenized, joined by end tokens and cut into windows."""
    data, model = run.data, run.model
    if not hasattr(model, "vocab_size"):
        raise ValueError(
            f"config.model: {type(model).__module__} has no vocabulary, and the "
            f"objective {run.objective.name} learns from text."
        )
    if run.objective.name == "language_model" and hasattr(model, "pooling"):
        raise ValueError(
            f"config.model: {type(model).__module__} sees the whole text, and the "
            "objective language_model predicts each token from those before it."
        )
    train, valid = documents(data)
    tokenizer = _tokenizer(run, train)
    if tokenizer.vocab_size > model.vocab_size:
        raise ValueError(
            f"config.model.vocab_size: {model.vocab_size}, at least the tokenizer's "
            f"{tokenizer.vocab_size} allowed."
        )
    length = data.length or model.context
    stream = formats.language_model(train, tokenizer)

    def train_from(start):
        return batches.lm_batches(
            stream.tokens, length, data.batch, run.seed, start=start
        )

    train_from(0)  # refuses what is too short before anything is written
    dataset, size = None, 0
    if valid:
        held = formats.language_model(valid, tokenizer)
        dataset, _ = batches.eval_windows(
            held.tokens, length, data.batch, stride=max(length // 2, 1)
        )
        size = held.bytes
    windows = batches.windows_per_epoch(len(stream.tokens), length)
    return Feed(
        train_from,
        dataset,
        size,
        -(-windows // data.batch),
        ("tokens", data.batch * length),
        tokenizer,
        lambda model: None,
    )


def documents(data) -> tuple[list[str], list[str]]:
    """The training and the evaluation documents of a Run's `data`, cleaned."""

    def read(spec, split="train"):
        return [cleaning.clean(d, data.clean) for d in sources.documents(spec, split)]

    train = read(data.source)
    if data.valid:
        return train, read(data.valid)
    if data.source == "kjv":
        return train, read("kjv", "valid")
    if not data.hold_out:
        return train, []
    try:
        return sources.hold_out(train, data.hold_out)
    except ValueError as error:
        raise ValueError(f"{data.source}: {error} Or set hold_out to 0.") from None


def _tokenizer(run, train):
    if run.data.tokenizer or run.init_from:
        return tokenizers.load(run.data.tokenizer or run.init_from)
    return tokenizers.train(train, run.model.vocab_size)


def table(run: Run) -> Feed:
    """Rows of features with a label."""
    data, model = run.data, run.model
    if not hasattr(model, "features"):
        raise ValueError(
            f"config.model: {type(model).__module__} takes no features, and the "
            f"objective {run.objective.name} learns from a table."
        )
    everything = tables.table(data.source)
    if data.valid:
        train, valid = everything, tables.table(data.valid, everything.label_names)
    elif data.hold_out:
        train, valid = tables.hold_out_rows(everything, data.hold_out, run.seed)
    else:
        train, valid = everything, None
    for rows in (train, valid):
        _check_table(rows, model, data.source)

    def train_from(start):
        return batches.table_batches(
            train.features_NF, train.labels_N, data.batch, run.seed, start=start
        )

    dataset = None
    if valid is not None:
        dataset, _ = batches.table_eval(valid.features_NF, valid.labels_N, data.batch)
    return Feed(
        train_from,
        dataset,
        0,
        -(-len(train.labels_N) // data.batch),
        ("rows", data.batch),
        None,
        lambda model: model.adapt(train.features_NF),
    )


def _check_table(rows, model, source):
    if rows is None:
        return
    if rows.features_NF.shape[1] != model.features:
        raise ValueError(
            f"config.model.features: {model.features}, but {source} has "
            f"{rows.features_NF.shape[1]}."
        )
    if model.classes and rows.labels_N.max() >= model.classes:
        raise ValueError(
            f"config.model.classes: {model.classes}, but {source} has the label "
            f"{rows.labels_N.max()}."
        )
