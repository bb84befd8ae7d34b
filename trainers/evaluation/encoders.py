"""Evaluation of embeddings, and of models that guess hidden tokens."""

from typing import Any

from trainers.evaluation import request as requests
from trainers.evaluation.measured import Evaluated, Measured, of_losses
from trainers.evaluation.request import Request
from trainers.evaluation.search import KS, make_ranking
from trainers.evaluation.sums import guess_sums
from trainers.run import Data
from zoo.data import batches, formats
from zoo.directory import Loaded
from zoo.metrics import bootstrap, retrieval
from zoo.text import framing

MASK_SEED = 0  # runs that differ in their seed guess the same held-out tokens
_ROWS = 16  # of a batch


def of_pairs(loaded: Loaded, request: Request) -> Evaluated:
    """A search for the positive of each anchor among all positives and negatives.

    The bootstrap draws anchors; the texts that they search stay.

    Args:
      loaded: a text encoder or a language model, with its tokenizer.
      request: of the format pair.

    Returns:
      `recall_at_1`, `recall_at_5`, `recall_at_10` and `mean_reciprocal_rank`.

    Raises:
      ValueError: another format; a source or a row is broken, or a number does not fit.
    """
    _check(request, "pair", "embeddings have")
    rows = requests.framed_rows(loaded, request, "pair")
    dataset = batches.eval_pairs(
        rows.tokens, rows.starts, rows.groups, request.batch or _ROWS
    )
    ranked, wanted = make_ranking()(loaded.model, dataset)
    measures = {
        f"recall_at_{k}": Measured(retrieval.recalls_at_k(ranked, wanted, k))
        for k in KS
    }
    ranks_N = retrieval.reciprocal_ranks(ranked, wanted)
    measures["mean_reciprocal_rank"] = Measured(ranks_N)
    facts = {**rows.counts, "examples": len(ranked), "texts": len(ranked[0])}
    about = (
        f"{request.name}: {len(ranked)} examples ({rows.about}); each searches "
        f"{len(ranked[0])} texts"
    )
    numbers = tuple(rows.numbers[first] for first in rows.groups[:-1])
    return Evaluated(about, facts, measures, numbers=numbers)


def of_masks(loaded: Loaded, request: Request) -> Evaluated:
    """The guesses of hidden tokens in documents, which are cut into windows.

    Equal seeds hide the same tokens. The seed is 0 by default, as while training.

    Args:
      loaded: a fill_mask model, with its tokenizer.
      request: of the format lm.

    Returns:
      `loss` a hidden token in nats, `perplexity`, which is e to the loss, and
      `accuracy`, the share of hidden tokens that the model thinks likeliest. The
      bootstrap draws windows.

    Raises:
      ValueError: another format; a source that is missing or broken; a number that does
        not fit; there is no mask token.
    """
    _check(request, "lm", "guesses of hidden tokens have")
    model = loaded.model
    tokenizer: Any = loaded.tokenizer
    held_out = request.held_out
    rate = (held_out.run.data if held_out else Data()).mask_rate
    length = requests.window_of(loaded, request)
    masking = batches.masking_of(tokenizer, rate, "--model")
    texts = requests.documents(request)
    with requests.names_of_flags():
        frame = framing.frame(tokenizer, model.config)
        tokens, starts = formats.windows(texts, tokenizer, frame, length)
    seed = request.knobs.get("seed", MASK_SEED)
    dataset = batches.eval_masked(tokens, starts, masking, request.batch or _ROWS, seed)
    sums_R3 = guess_sums(model, dataset)[: len(starts) - 1]
    sums_R3 = sums_R3[sums_R3[:, 2] > 0]  # without windows of special tokens alone
    if not len(sums_R3):
        raise ValueError(f"{request.name}: no token to guess.")
    measures = of_losses(sums_R3[:, (0, 2)], None)
    measures["accuracy"] = Measured(sums_R3[:, 1:], bootstrap.ratio)
    facts = {
        "documents": len(texts),
        "windows": len(sums_R3),
        "hidden": int(sums_R3[:, 2].sum()),
        "window": length,
        "mask_rate": rate,
        "seed": seed,
    }
    about = (
        f"{request.name}: {len(texts)} documents in {len(sums_R3)} windows of at most "
        f"{length} tokens; {facts['hidden']} hidden tokens, seed {seed}"
    )
    return Evaluated(about, facts, measures)


def _check(request, format, what):
    """Refuses another format, and metrics of generated answers."""
    if request.format not in ("", format):
        raise ValueError(
            f"--format: {request.format!r}, but {what} the format {format}."
        )
    if request.metrics:
        raise ValueError(
            f"--metrics: {', '.join(request.metrics)}, but the model generates no "
            "answers here; leave it out."
        )
