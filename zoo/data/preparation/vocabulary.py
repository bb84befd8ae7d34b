"""Trains a tokenizer on the training documents, of which memory holds a few at a time.

Both kinds work on bytes, so that every text has tokens and comes back exactly. The
trainers keep a count of each different word; `Recipe.tokenizer_chars` bounds that.
"""

import json
from collections.abc import Iterable, Iterator

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from zoo.data.preparation import decisions, words, writing
from zoo.data.preparation.recipe import Recipe
from zoo.data.preparation.unit_files import UnitFiles
from zoo.text import tokenizer
from zoo.text.tokenizer import END, Tokenizer

_DIGITS = 6  # of the scores of Unigram
_PENALTY = 0.0001


def train(texts: Iterable[str], vocab_size: int, algorithm: str) -> Tokenizer:
    """Trains a tokenizer.

    Args:
      texts: the documents; read once.
      vocab_size: tokens, 256 bytes and the end token included.
      algorithm: "bpe" (Sennrich et al. 2016) or "unigram" (Kudo 2018).

    Raises:
      ValueError: the texts do not support so many tokens.
    """
    if algorithm == "bpe":
        return tokenizer.train(texts, vocab_size)
    engine = tokenizers.Tokenizer(models.Unigram())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=True
    )
    engine.decoder = decoders.ByteLevel()
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    engine.train_from_iterator(texts, trainer)
    found = engine.get_vocab_size()
    if found != vocab_size:
        raise ValueError(
            f"recipe.vocab_size: {vocab_size}, but Unigram finds {found} tokens in "
            "this corpus."
        )
    return Tokenizer(_ordered(engine.to_str()), {"bos_token": END, "eos_token": END})


def documents(recipe: Recipe, work, count: int) -> Iterator[str]:
    """The training documents, or a sample of `Recipe.tokenizer_chars` characters.

    The hash of a text decides whether it is in the sample.

    Args:
      recipe: what to do.
      work: the folder of a preparation with decisions.
      count: how many units there are.
    """
    total = sum(
        int(UnitFiles(work, number).array("sizes")[_training(work, number)].sum())
        for number in range(count)
    )
    share = recipe.tokenizer_chars / max(total, 1)
    for number in range(count):
        chosen_D = _training(work, number)
        if share < 1:
            keys_D2 = UnitFiles(work, number).array("keys")
            draw_D = (words.mix(keys_D2[:, 1]) >> np.uint64(11)) / 2.0**53
            chosen_D &= draw_D < share
        for _, text in writing.texts(work, number, chosen_D):
            yield text


def _training(work, number):
    """Which documents of a unit are training documents, bool [D]."""
    return decisions.load(work, number).codes_D == 0


def _ordered(text: str) -> str:
    """A tokenizer.json of Unigram that is the same for equal documents.

    The library adds numbers in an order that differs from run to run. So the last
    digits of scores differ, and the order of pieces with them. It also gives the bytes
    that are no pieces so far the lowest score, and 0.0001 more for each further byte,
    in an order that differs; here all of these have the lowest score.
    """
    fields = json.loads(text)
    special = {token["content"] for token in fields["added_tokens"]}
    pieces = fields["model"]["vocab"]
    lowest = min(score for piece, score in pieces if piece not in special)
    first, rest = [], []
    for piece, score in pieces:
        steps = (score - lowest) / _PENALTY
        if piece in special:
            first.append([piece, score])
        elif len(piece) == 1 and steps < 256 and abs(steps - round(steps)) < 1e-4:
            rest.append([piece, round(lowest, _DIGITS)])
        else:
            rest.append([piece, round(score, _DIGITS)])
    rest.sort(key=lambda entry: (-entry[1], entry[0]))
    fields["model"]["vocab"] = first + rest
    return json.dumps(fields, indent=2, ensure_ascii=False)
