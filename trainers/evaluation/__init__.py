"""Evaluation, a file a kind.

sums                the weighted means of an objective's loss
labels              the answers of a model with labels, and measures of them
confusion_matrix    the picture of a confusion matrix
"""

from trainers.evaluation import confusion_matrix, labels
from trainers.evaluation.sums import make_evaluate, rows_at_once

__all__ = ["confusion_matrix", "labels", "make_evaluate", "rows_at_once"]
