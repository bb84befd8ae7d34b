"""Prepares a data set: documents of a source become shards of tokens with a data card.

recipe       everything that decides what is written
units        cuts a source into units of work, and cleans one
words        the words of texts as numbers; minhash and ngrams work on them
duplicates   exact, near, and line by line
decisions    which documents stay, in which split
vocabulary   trains the tokenizer
writing      the shards of a unit
card         what was done, as JSON, in words and as a picture
runner       all of it, on this machine

A worker process imports no TensorFlow.
"""

from zoo.data.preparation.recipe import Recipe
from zoo.data.preparation.runner import run

__all__ = ["Recipe", "run"]
