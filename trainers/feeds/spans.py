"""The feed of span corruption: documents, cut into windows, for encoder-decoders."""

import functools
import math

import numpy as np

from trainers import evaluation
from trainers.evaluation.encoders import MASK_SEED
from trainers.feeds import text
from trainers.feeds.feed import Evaluate, Feed
from trainers.roles import Start
from trainers.run import Run
from zoo.data import batches, formats, mixtures, splits
from zoo.text import framing
from zoo.text import tokenizer as tokenizers
from zoo.text.tokenizer import Tokenizer

_SENTINELS = 100  # of a new tokenizer, as T5's has


def make(run: Run, start: Start) -> Feed:
    """Cuts each document into windows, and takes spans out of each window.

    A window is as long as its source, its target and its sentinels allow; one of a
    single token is left out. The Run's seed, the epoch and the window decide the spans.
    In evaluation, each window lacks the same spans at any step and in any run.

    Raises:
      ValueError: the data are missing or broken; there are no sentinels; the rate is 0;
        a window has no room; sources have a vocabulary of their own.
    """
    data, config = run.data, start.config
    if not data.mask_rate:
        raise ValueError("config.data.mask_rate: 0.0, above 0 and below 1 allowed.")
    if config.source_vocab_size:
        raise ValueError(
            f"config.model.source_vocab_size: {config.source_vocab_size}, 0 allowed: "
            "the source and the target of span_corruption are parts of one text."
        )
    parts = mixtures.parts(data.source, data.mixture)
    train, valid = mixtures.split(
        functools.partial(splits.documents, clean=data.clean),
        parts,
        data.valid,
        data.hold_out,
    )
    texts = [one for documents in train for one in documents]
    tokenizer = _tokenizer(run, start, texts)
    text.check_vocabulary(tokenizer, config)
    where = data.tokenizer or run.init_from
    where = where or f"config.model.vocab_size {config.vocab_size}"
    sides = formats.seq2seq.sides(config, tokenizer, tokenizer)
    after = sides.target_frame.after or [tokenizer.end_ids[0]]
    corruption = batches.Corruption(
        data.mask_rate,
        batches.sentinels_of(tokenizer, where),
        sides.frame,
        sides.target_frame._replace(after=after),
        config.start_id,
        config.padding_id,
    )
    limits = formats.seq2seq.limits(config, data.length)
    length = corruption.longest(*limits)
    if not length:
        raise ValueError(
            f"config.data.length: a source of {limits[0]} and a target of {limits[1]} "
            "tokens have no room for a text without a span; more allowed."
        )
    bare = framing.Frame([], [], [])

    def windows(documents):
        """Windows of at least 2 tokens: one that stays, and one that is taken out."""
        return formats.windows(documents, tokenizer, bare, length, least=2)

    of_parts = [windows(documents) for documents in train]
    tokens = np.concatenate([own for own, _ in of_parts])
    starts = mixtures.join_starts([own for _, own in of_parts])
    counts = [len(own) - 1 for _, own in of_parts]
    if data.mixture:
        print("\n".join(mixtures.about(parts, counts, "windows")))

    def train_from(number, roles):
        del roles
        return batches.span_batches(
            tokens,
            starts,
            corruption,
            data.batch,
            run.seed,
            start=number,
            counts=counts,
            shares=[part.share for part in parts],
        )

    evaluate: Evaluate | None = None
    if valid:
        rows = evaluation.rows_at_once(run)
        dataset = batches.eval_spans(*windows(valid), corruption, rows, MASK_SEED)
        sums = evaluation.make_evaluate(run.objective)

        def evaluate_spans(roles):
            metrics = sums(roles, dataset)
            metrics["perplexity"] = math.exp(min(metrics["loss"], 700.0))
            return metrics

        evaluate = evaluate_spans

    return Feed(
        train_from,
        evaluate,
        len(starts) - 1,
        ("windows", data.batch),
        tokenizer,
        lambda roles: None,
        lambda roles: "",
        text.fingerprint_of(data, tokenizer),
        int(sum(corruption.sizes(np.diff(starts).max()))),
    )


def _tokenizer(run: Run, start: Start, texts: list[str]) -> Tokenizer:
    """The tokenizer of the Run, or a new one with sentinels.

    Those of a small vocabulary leave half of it to the merges of bytes.
    """
    if run.data.tokenizer or start.pretrained is not None:
        return text.with_end(run, text.tokenizer_of(run, start, texts))
    size = start.config.vocab_size
    count = min(_SENTINELS, max(size - 257, 0) // 2)
    names = [tokenizers.END, *(f"<extra_id_{i}>" for i in range(count))]
    return tokenizers.train(texts, size, names)
