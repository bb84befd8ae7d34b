"""Evaluation of embeddings: a search for the positive of each anchor."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from trainers.objectives.contrastive import embed_groups
from zoo.metrics import retrieval

_KS = (1, 5, 10)
_QUERIES = 1024  # of which the cosines with all texts are computed at once


def make_search() -> Callable[[Any, tf.data.Dataset], dict[str, float]]:
    """Compiles `search(model, dataset) -> metrics`.

    Returns:
      The function. Its dataset has groups as `zoo.data.batches.eval_pairs` makes them.
      Equal texts count once. The metrics are `recall_at_1`, `recall_at_5`,
      `recall_at_10` and `mean_reciprocal_rank`, of the search by cosine for the
      positive of each anchor among all positives and negatives.
    """

    @tf.function(autograph=False)
    def embedded(model, tokens_BGT, lengths_BG):
        return embed_groups(model, tokens_BGT, lengths_BG)

    def search(model, dataset) -> dict[str, float]:
        places: dict[bytes, int] = {}  # of a text among the candidates
        anchors, candidates, wanted = [], [], []
        for batch in dataset:
            x_BGD = embedded(model, batch["tokens"], batch["lengths"]).numpy()
            tokens_BGT, lengths_BG = batch["tokens"].numpy(), batch["lengths"].numpy()
            for row, lengths_G in enumerate(lengths_BG):
                for text in range(1, np.count_nonzero(lengths_G)):
                    key = tokens_BGT[row, text, : lengths_G[text]].tobytes()
                    if key not in places:
                        places[key] = len(places)
                        candidates.append(x_BGD[row, text])
                    if text == 1:
                        anchors.append(x_BGD[row, 0])
                        wanted.append([places[key]])
        return _metrics(np.stack(anchors), np.stack(candidates), wanted)

    return search


def _metrics(anchors_QD, candidates_ND, wanted) -> dict[str, float]:
    """The metrics of the search; the vectors have the length 1.

    `wanted` has the place of each anchor's positive.
    """
    ranked = []
    for first in range(0, len(anchors_QD), _QUERIES):
        cosines_QN = anchors_QD[first : first + _QUERIES] @ candidates_ND.T
        ranked += np.argsort(-cosines_QN, axis=1, kind="stable").tolist()
    metrics = {f"recall_at_{k}": retrieval.recall_at_k(ranked, wanted, k) for k in _KS}
    rank = retrieval.mean_reciprocal_rank(ranked, wanted)
    return {**metrics, "mean_reciprocal_rank": rank}
