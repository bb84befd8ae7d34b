"""Evaluation, a file a kind.

sums              the weighted means of an objective's loss, and the loss of each row
labels            the answers of a model with labels, and measures of them
confusion_matrix  the picture of a confusion matrix
answers           generated answers beside the right ones
measured          numbers that keep what they need of each example
request           what is to be evaluated, and the data of it
dispatch          chooses by the model's `reads` and `task`
language          language models, on documents and on examples
seq2seq           encoder-decoders, on sources with targets
encoders          embeddings of pairs, and guesses of hidden tokens
labelled          models that answer a text with labels
table             models of features
audits            memorised text, and bias by minimal pairs
preferences       reward models and language models on preferences
comparison        how two models differ on the same examples
report            JSON, Markdown and TensorBoard
search            recall and reciprocal rank of a search by embeddings
"""

from trainers.evaluation import confusion_matrix, labels
from trainers.evaluation.search import make_ranking, make_search
from trainers.evaluation.sums import make_evaluate, rows_at_once

__all__ = [
    "confusion_matrix",
    "labels",
    "make_evaluate",
    "make_ranking",
    "make_search",
    "rows_at_once",
]
