"""Measures of longer answers: translations, summaries, samples that a check accepts.

BLEU and chrF are those of sacrebleu (Post 2018, arXiv:1804.08771), ROUGE is that of
rouge-score (Lin 2004). Scores of a corpus keep what they need of each example, so that
`zoo.metrics.bootstrap` can draw examples.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from rouge_score import rouge_scorer, tokenizers
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

TOKENIZERS = ("13a", "intl", "zh", "ja-mecab", "char", "none")
ROUGES = ("rouge1", "rouge2", "rougeL")


@dataclasses.dataclass(frozen=True)
class CorpusScore:
    """A score of all answers together.

    Attributes:
      value: 0 to 100.
      signature: sacrebleu's, to publish with the value.
      rows_NS: what the score needs of each example.
      metric: sacrebleu's metric.
    """

    value: float
    signature: str
    rows_NS: np.ndarray
    metric: Any

    def measure(self, rows_NS: np.ndarray) -> float:
        """The score of any choice of examples: a measure for `bootstrap.interval`."""
        sums_S = np.sum(rows_NS, 0).tolist()
        return self.metric._compute_score_from_stats(sums_S).score


def bleu(
    answers: Sequence[str],
    references: Sequence[Sequence[str]],
    tokenize: str = "13a",
) -> CorpusScore:
    """BLEU of a corpus.

    Args:
      answers: texts that are not tokenized.
      references: of each answer, one or several.
      tokenize: one of TOKENIZERS: "13a" for languages with spaces, "zh" for Chinese,
        "ja-mecab" for Japanese, "char" for any.

    Raises:
      ValueError: there is no answer, lengths differ, an answer has no reference, the
        tokenizer is unknown, or the packages of ja-mecab are not installed.
    """
    tokenizer = _tokenizer(tokenize)
    return _score(BLEU(tokenize=tokenizer, force=True), answers, references)


def chrf(
    answers: Sequence[str], references: Sequence[Sequence[str]], word_order: int = 0
) -> CorpusScore:
    """chrF of a corpus (Popovic 2015), which needs no tokenizer.

    Args:
      answers: texts.
      references: of each answer, one or several.
      word_order: 0, or 2 for chrF++.

    Raises:
      ValueError: there is no answer, lengths differ, or an answer has no reference.
    """
    return _score(CHRF(word_order=word_order), answers, references)


def rouge(
    answers: Sequence[str], references: Sequence[Sequence[str]], tokenize: str = ""
) -> dict[str, np.ndarray]:
    """The F-measures of ROUGE-1, ROUGE-2 and ROUGE-L of each answer.

    Args:
      answers: texts.
      references: of each answer, one or several; the best one counts.
      tokenize: "" takes the words of rouge-score, in small letters: it drops all
        characters but ASCII letters and digits. Other languages take one of TOKENIZERS.

    Returns:
      For each of ROUGES float64 [N], 0 to 1; the usual score is the mean.

    Raises:
      ValueError: as `bleu`.
    """
    _check(answers, references)
    words = _Words(_tokenizer(tokenize)) if tokenize else None
    scorer = rouge_scorer.RougeScorer(ROUGES, tokenizer=words)
    found = [
        scorer.score_multi(wanted, answer)
        for answer, wanted in zip(answers, references, strict=True)
    ]
    return {name: np.array([f[name].fmeasure for f in found]) for name in ROUGES}


def pass_at_k(samples: int, right: int, k: int) -> float:
    """The probability that one of k samples is right, without bias.

    1 - C(n - c, k) / C(n, k) for n samples of which c are right. Source: Chen et al.
    2021 (arXiv:2107.03374).

    Args:
      samples: n, at least k.
      right: c, 0 to n.
      k: at least 1.

    Raises:
      ValueError: a number is out of its range.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"k: {k}, 1 to the {samples} samples allowed.")
    if not 0 <= right <= samples:
        raise ValueError(f"right: {right}, 0 to the {samples} samples allowed.")
    return 1.0 - math.comb(samples - right, k) / math.comb(samples, k)


class _Words(tokenizers.Tokenizer):
    """A tokenizer of sacrebleu in the form of rouge-score's."""

    def __init__(self, name: str):
        self.of = BLEU(tokenize=name).tokenizer

    def tokenize(self, text: str) -> list[str]:
        """The words of a text."""
        return self.of(text.rstrip()).split()


def _tokenizer(name: str) -> str:
    """The name of a tokenizer that is known and installed."""
    if name not in TOKENIZERS:
        allowed = ", ".join(TOKENIZERS)
        raise ValueError(f"tokenize: {name!r}, one of {allowed} allowed.")
    try:
        BLEU(tokenize=name)
    except RuntimeError:  # so sacrebleu says that MeCab is missing
        raise ValueError(
            f"tokenize: {name!r} needs two more packages: pip install 'sacrebleu[ja]'."
        ) from None
    return name


def _score(metric, answers, references) -> CorpusScore:
    """A metric of sacrebleu over answers, with what it needs of each."""
    _check(answers, references)
    most = max(map(len, references))
    # sacrebleu reads a list of references a column, with None where one is missing
    columns = [
        [wanted[i] if i < len(wanted) else None for wanted in references]
        for i in range(most)
    ]
    rows_NS = np.array(metric._extract_corpus_statistics(list(answers), columns))
    score = CorpusScore(0.0, str(metric.get_signature()), rows_NS, metric)
    return dataclasses.replace(score, value=score.measure(rows_NS))


def _check(answers, references):
    """Refuses no answer, other lengths, and an answer without a list of references."""
    if len(answers) != len(references) or not len(answers):
        raise ValueError(
            f"answers: {len(answers)}, references: {len(references)}; as many of both "
            "allowed, and at least 1."
        )
    for number, wanted in enumerate(references):
        if isinstance(wanted, str) or not len(wanted):
            raise ValueError(
                f"references of answer {number}: {wanted!r:.60}, a list of at least 1 "
                "text allowed."
            )
