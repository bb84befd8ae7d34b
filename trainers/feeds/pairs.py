"""The feed of pairs: texts with their positives and hard negatives."""

import numpy as np

from trainers import evaluation
from trainers.feeds import text
from trainers.feeds.feed import Evaluate, Feed
from trainers.roles import Start
from trainers.run import Run
from zoo.data import batches, formats, mixtures, splits

_TASKS = ("embed", "generate")


def make(run: Run, start: Start) -> Feed:
    """Makes the groups of all examples, and holds out some of them for evaluation.

    Evaluation gives the loss and the accuracy in batches of `data.batch`. It also gives
    recall at 1, 5 and 10 and the mean reciprocal rank of a search for each positive
    among all evaluated positives and negatives.

    Raises:
      ValueError: the model gives no embeddings, or there is no format of pairs, no
        tokenizer or no batch of 2; the source is missing or broken.
    """
    data, config = run.data, start.config
    where = f"config.model: {type(config).__module__}"
    if config.reads != "text" or config.task not in _TASKS:
        raise ValueError(
            f"{where} gives no embeddings of texts, and the objective "
            f"{run.objective.name} learns them."
        )
    if data.format != "pair":
        raise ValueError(f"config.data.format: {data.format!r}, 'pair' allowed.")
    if data.batch < 2:
        raise ValueError(
            f"config.data.batch: {data.batch}, at least 2 allowed: the negatives are "
            "the other examples of the batch."
        )
    tokenizer = text.tokenizer_of(run, start)
    text.check_vocabulary(tokenizer, config)
    frame, length = text.framed_window(run, tokenizer, config)

    def read(examples):
        return formats.rows.read(
            examples,
            formats.BY_NAME["pair"],
            tokenizer,
            length,
            data.fields,
            data.too_long,
            data.max_bad_rows,
            frame=frame,
        )

    parts = mixtures.parts(data.source, data.mixture)
    train, valid = mixtures.split(splits.examples, parts, data.valid, data.hold_out)
    of_parts = [read(examples) for examples in train]
    rows = mixtures.join_rows(of_parts)
    counts = [len(own.groups) - 1 for own in of_parts]
    for part, own in zip(parts, of_parts, strict=True):
        print(f"{part.source}: {own.about}")
    if data.mixture:
        print("\n".join(mixtures.about(parts, counts, "pairs")))

    def train_from(number, roles):
        del roles
        return batches.pair_batches(
            rows.tokens,
            rows.starts,
            rows.groups,
            data.batch,
            run.seed,
            start=number,
            counts=counts,
            shares=[part.share for part in parts],
        )

    evaluate: Evaluate | None = None
    if valid:
        held_out = read(valid)
        dataset = batches.eval_pairs(
            held_out.tokens, held_out.starts, held_out.groups, data.batch
        )
        sums = evaluation.make_evaluate(run.objective)
        search = evaluation.make_search()

        def evaluate_pairs(roles):
            model = roles[run.objective.trains[0]]
            return sums(roles, dataset) | search(model, dataset)

        evaluate = evaluate_pairs

    longest = int(np.diff(rows.starts).max()) * int(np.diff(rows.groups).max())
    return Feed(
        train_from,
        evaluate,
        len(rows.groups) - 1,
        ("pairs", data.batch),
        tokenizer,
        lambda roles: None,
        lambda roles: "",
        text.fingerprint_of(data, tokenizer),
        longest,
    )
