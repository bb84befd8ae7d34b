"""Evaluation of embeddings: a search for the positive of each anchor."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from trainers.objectives.contrastive import embed_groups
from zoo.metrics import retrieval

KS = (1, 5, 10)
_QUERIES = 1024  # of which the cosines with all texts are computed at once

# of each anchor: the places of the candidates, best first, and those of its positive
Ranking = tuple[list[list[int]], list[list[int]]]


def make_search() -> Callable[[Any, tf.data.Dataset], dict[str, float]]:
    """Compiles `search(model, dataset) -> metrics`.

    Returns:
      The function. Its arguments are those of `make_ranking`. The metrics are
      `recall_at_1`, `recall_at_5`, `recall_at_10` and `mean_reciprocal_rank`.
    """
    ranking = make_ranking()

    def search(model, dataset) -> dict[str, float]:
        found = ranking(model, dataset)
        metrics = {f"recall_at_{k}": retrieval.recall_at_k(*found, k) for k in KS}
        rank = retrieval.mean_reciprocal_rank(*found)
        return {**metrics, "mean_reciprocal_rank": rank}

    return search


def make_ranking() -> Callable[[Any, tf.data.Dataset], Ranking]:
    """Compiles `ranking(model, dataset)`.

    Returns:
      The function. Its dataset has groups as `zoo.data.batches.eval_pairs` makes them.
      It ranks all positives and negatives by their cosine with each anchor; equal texts
      count once.
    """

    @tf.function(autograph=False)
    def traced(model, batch):
        return embed_groups(model, batch["tokens"], batch["lengths"])

    def ranking(model, dataset) -> Ranking:
        places: dict[bytes, int] = {}  # of a text among the candidates
        anchors, candidates, wanted = [], [], []
        embedded = traced.get_concrete_function(model, dataset.element_spec)
        for batch in dataset:
            x_BGD = embedded(model, batch).numpy()
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
        return _ranked(np.stack(anchors), np.stack(candidates)), wanted

    return ranking


def _ranked(anchors_QD, candidates_ND) -> list[list[int]]:
    """The candidates of each anchor by their cosine; the vectors have the length 1."""
    ranked = []
    for first in range(0, len(anchors_QD), _QUERIES):
        cosines_QN = anchors_QD[first : first + _QUERIES] @ candidates_ND.T
        ranked += np.argsort(-cosines_QN, axis=1, kind="stable").tolist()
    return ranked
