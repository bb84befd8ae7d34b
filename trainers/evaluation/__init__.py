"""Evaluation, a file a kind.

search   recall and reciprocal rank of a search by embeddings
sums     the weighted means of an objective's loss
"""

from trainers.evaluation.search import make_search
from trainers.evaluation.sums import make_evaluate, rows_at_once

__all__ = ["make_evaluate", "make_search", "rows_at_once"]
