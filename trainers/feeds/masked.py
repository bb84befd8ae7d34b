"""The feed of masked language models: documents, cut into framed windows."""

import functools

import numpy as np

from trainers import evaluation
from trainers.feeds import text
from trainers.feeds.feed import Evaluate, Feed
from trainers.roles import Start
from trainers.run import Run
from zoo.data import batches, formats, mixtures, splits
from zoo.text import framing
from zoo.text.tokenizer import NAMED_TOKENS, Tokenizer, library_tokenizer

_EVAL_SEED = 0  # runs that differ in their seed guess the same held-out tokens


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
    masking = _masking(tokenizer, run)
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
            *held_out, masking, evaluation.rows_at_once(run), _EVAL_SEED
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


def _masking(tokenizer: Tokenizer, run: Run) -> batches.Masking:
    """How the tokens of a tokenizer are hidden; special tokens never are."""
    engine = library_tokenizer(tokenizer.json)
    added = engine.get_added_tokens_decoder()
    fixed = {number for number, token in added.items() if token.special}
    named = {}
    for name in NAMED_TOKENS:
        token = tokenizer.config.get(name)
        token = token["content"] if isinstance(token, dict) else token
        if token is not None:
            named[name] = engine.token_to_id(token)
    mask_id = named.get("mask_token")
    if mask_id is None:
        raise ValueError(
            f"{run.data.tokenizer or run.init_from}: no token hides another one, and "
            "training needs one; name it as mask_token in tokenizer_config.json."
        )
    fixed |= {number for number in named.values() if number is not None}
    return batches.Masking(
        run.data.mask_rate, mask_id, sorted(fixed), tokenizer.vocab_size
    )
