"""Evaluation, a file a kind.

sums     the weighted means of an objective's loss
"""

from trainers.evaluation.sums import make_evaluate, rows_at_once

__all__ = ["make_evaluate", "rows_at_once"]
