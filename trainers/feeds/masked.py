"""The feed of masked language models: documents, cut into framed windows."""

import functools

import numpy as np

from trainers import evaluation
from trainers.evaluation.encoders import MASK_SEED
from trainers.feeds import text
from trainers.feeds.feed import Evaluate, Feed
from trainers.roles import Start
from trainers.run import Run
from zoo.data import batches, formats, mixtures, splits
from zoo.text import framing


def make(run: Run, start: Start) -> Feed:
    """Cuts each document into windows, and hides tokens of each window.

    The Run's seed, the epoch and the window decide which tokens are hidden. In
    evaluation, each window hides the same tokens at any step and in any run.

    Raises:
      ValueError: the data are missing, broken or of another format; there is no mask
        token; the rate is 0; the objective learns something else.
    """
    data, config = run.data, start.config
    if set(run.objective.needs.values()) != {"model"}:
        raise ValueError(
            f"config.model: {type(config).__module__} guesses hidden tokens, which the "
            f"objective {run.objective.name} does not learn."
        )
    if data.format != "lm":
        raise ValueError(
            f"config.data.format: {data.format!r}, 'lm' allowed where a model guesses "
            "hidden tokens."
        )
    if not data.mask_rate:
        raise ValueError("config.data.mask_rate: 0.0, above 0 and below 1 allowed.")
    parts = mixtures.parts(data.source, data.mixture)
    train, valid = mixtures.split(
        functools.partial(splits.documents, clean=data.clean),
        parts,
        data.valid,
        data.hold_out,
    )
    texts = [one for documents in train for one in documents]
    tokenizer = text.tokenizer_of(run, start, texts)
    text.check_vocabulary(tokenizer, config)
    where = data.tokenizer or run.init_from
    masking = batches.masking_of(tokenizer, data.mask_rate, where)
    frame, length = framing.frame(tokenizer, config), text.window(run, config)
    of_parts = [
        formats.windows(documents, tokenizer, frame, length) for documents in train
    ]
    tokens = np.concatenate([own for own, _ in of_parts])
    starts = mixtures.join_starts([own for _, own in of_parts])
    counts = [len(own) - 1 for _, own in of_parts]
    if data.mixture:
        print("\n".join(mixtures.about(parts, counts, "windows")))

    def train_from(number, roles):
        del roles
        return batches.masked_batches(
            tokens,
            starts,
            masking,
            data.batch,
            run.seed,
            start=number,
            counts=counts,
            shares=[part.share for part in parts],
        )

    evaluate: Evaluate | None = None
    if valid:
        held_out = formats.windows(valid, tokenizer, frame, length)
        dataset = batches.eval_masked(
            *held_out, masking, evaluation.rows_at_once(run), MASK_SEED
        )
        sums = evaluation.make_evaluate(run.objective)

        def evaluate_masked(roles):
            return sums(roles, dataset)

        evaluate = evaluate_masked

    return Feed(
        train_from,
        evaluate,
        len(starts) - 1,
        ("rows", data.batch),
        tokenizer,
        lambda roles: None,
        lambda roles: "",
        text.fingerprint_of(data, tokenizer),
        int(np.diff(starts).max()),
    )
