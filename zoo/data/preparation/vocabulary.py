"""Trains a tokenizer on the training documents, of which memory holds a few at a time.

A character that has no piece becomes its bytes, so that every text has tokens and comes
back exactly. The only exception is U+2581 with Unigram: that character stands for a
space in pieces, as in SentencePiece, and comes back as one. The trainers keep a count
of each different word; `Recipe.tokenizer_chars` bounds that.
"""

import collections
import json
import re
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from zoo.data.preparation import decisions, words, writing
from zoo.data.preparation.recipe import Recipe
from zoo.data.preparation.unit_files import UnitFiles
from zoo.text import tokenizer
from zoo.text.tokenizer import END, Tokenizer

_SPACE, _UNKNOWN = "\u2581", "<unk>"
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
# Text that names such a token must not become it, so its characters are pieces.
_LETTERS = sorted(set("".join([*_BYTES, _UNKNOWN])))
_FIXED = len(_BYTES) + 2
_COVERED = 0.9995  # of the characters; the others become bytes
_UNITS = 2**16  # in a score of 1: sums of such scores are exact
_PENALTY = 0.0001
_LOWEST = 12  # times the lowest score: more than the characters of "<0x00>" cost


def train(
    texts: Callable[[], Iterable[str]], vocab_size: int, algorithm: str
) -> Tokenizer:
    """Trains a tokenizer.

    Args:
      texts: gives the documents, each time it is called. "unigram" reads them twice.
      vocab_size: tokens, 256 bytes and the end token included; at least those of
        `recipe.ALGORITHMS`.
      algorithm: "bpe" (Sennrich et al. 2016) or "unigram" (Kudo 2018).

    Raises:
      ValueError: the texts do not support so many tokens.
    """
    if algorithm == "bpe":
        return tokenizer.train(texts(), vocab_size)
    size = vocab_size - _FIXED
    engine = tokenizers.Tokenizer(models.Unigram())
    engine.pre_tokenizer = pre_tokenizers.Metaspace(_SPACE, prepend_scheme="never")
    engine.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=size,
        special_tokens=[],
        initial_alphabet=_LETTERS,
        show_progress=False,
    )
    rare = _rare(texts(), size // 2)
    engine.train_from_iterator((rare.sub(" ", text) for text in texts()), trainer)
    found = engine.get_vocab_size()
    if found != size:
        raise ValueError(
            f"recipe.vocab_size: {vocab_size}, but Unigram finds {found + _FIXED} "
            "tokens in this corpus."
        )
    return Tokenizer(_complete(engine.to_str()), {"bos_token": END, "eos_token": END})


def _rare(texts: Iterable[str], most: int) -> re.Pattern[str]:
    """Matches what no piece holds: rare characters, and what has a meaning in pieces.

    SentencePiece (Kudo and Richardson 2018) has the same share, `character_coverage`.
    """
    counts: collections.Counter[str] = collections.Counter()
    for text in texts:
        counts.update(text)
    for character in f"\0{_SPACE}":
        counts.pop(character, None)
    limit, total, kept = _COVERED * sum(counts.values()), 0, [*_LETTERS, " "]
    for character, count in sorted(counts.items(), key=lambda item: (-item[1], item)):
        if total >= limit or len(kept) >= most:
            break
        total += count
        kept.append(character)
    return re.compile(f"{_UNKNOWN}|[^{re.escape(''.join(kept))}]+")


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


def _complete(text: str) -> str:
    """A tokenizer.json with all tokens, the same for equal documents.

    The library adds numbers in an order that differs from run to run. So the last
    digits of scores differ, and the order of pieces with them. It also gives the
    characters that are no pieces so far the lowest score, and 0.0001 more for each
    further one, in an order that differs; here all of these have the lowest score.
    """
    fields = json.loads(text)
    pieces = fields["model"]["vocab"]
    lowest = min(score for _, score in pieces)
    found = []
    for piece, score in pieces:
        steps = (score - lowest) / _PENALTY
        if len(piece) == 1 and abs(steps - round(steps)) < 1e-4 and steps < len(pieces):
            score = lowest
        found.append([piece, round(score * _UNITS) / _UNITS])
    found.sort(key=lambda entry: (-entry[1], entry[0]))
    never = _LOWEST * found[-1][1] - 1  # a score that no text is worth
    fixed = [[name, never] for name in (_UNKNOWN, *_BYTES)]
    fields["model"] |= {"unk_id": 0, "vocab": fixed + found, "byte_fallback": True}
    fields["added_tokens"] = [
        {
            "id": len(fixed) + len(found),
            "content": END,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
    ]
    return json.dumps(fields, indent=2, ensure_ascii=False)
