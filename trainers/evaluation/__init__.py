"""Evaluation, a file a kind.

sums       the weighted means of an objective's loss, and the loss of each row
request    what is to be evaluated, and the data of it
dispatch   chooses by the model's `reads` and `task`
language   language models, on documents and on examples
answers    generated answers beside the right ones
table      models of features
audits     memorised text, and bias by minimal pairs
measured   numbers that keep what they need of each example
pairwise   two models on the same examples
report     JSON, Markdown, TensorBoard and a picture
"""

from trainers.evaluation.sums import make_evaluate, rows_at_once

__all__ = ["make_evaluate", "rows_at_once"]
