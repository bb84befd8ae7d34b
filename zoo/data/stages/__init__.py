"""Stages: functions that clean, change or drop a text; one file has a family of them.

characters    newlines, control, trim, nfc, nfkc, width, whitespace
markup        html
mojibake      mojibake
lines         boilerplate, bad_lines
gopher        gopher_quality, gopher_repetition
c4            c4_quality
bad_words     bad_words:FILE
language      language:en,de
pii           pii, pii:email,phone,ip,card
segmentation  segment:zh, segment:ja
features      stop_words, stem:english, tags:zh

kinds, ngrams and stage hold no stage; pipeline runs a list of them. A new stage is one
file with a table STAGES. No stage imports TensorFlow, so that worker processes start
fast, and each takes time in proportion to the text, whatever is in it.
"""

from zoo.data.stages.pipeline import DEFAULT, NAMES, Pipeline, check, make
from zoo.data.stages.stage import Dropped

__all__ = ["DEFAULT", "NAMES", "Dropped", "Pipeline", "check", "make"]
