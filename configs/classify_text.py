"""Logistic regression over TF-IDF of a text's tokens, which tells classes of texts.

    python -m trainers.train --config=configs/classify_text.py --workdir=runs/classify \
        --config.data.source=jsonl:mails.jsonl

A line of the file is an object with a text and the name (or number) of its class:
{"text": "...", "label": "spam"}. Columns of other names are renamed, such as by
--config.data.fields='["text=body"]'. A fifth of the lines is held out. Longer texts are
cut at 2,048 tokens. model.widths adds hidden layers; with them, a rate of 5e-3 is
enough. The measured results are in docs/tasks.md:

    python -m benchmarks.text_classification --source=jsonl:mails.jsonl
"""

from trainers.objectives import Classify
from trainers.run import Data, Optimizer, Run
from zoo.models.bag_of_words import Config


def get_config():
    return Run(
        model=Config(vocab_size=8192, context=2048, ngrams=1, classes=0, widths=()),
        objective=Classify(),
        data=Data(
            source="jsonl:texts.jsonl",
            format="classify",
            too_long="cut",
            hold_out=0.2,
            batch=32,
        ),
        optimizer=Optimizer(name="adam", lr=0.03, final=0.0),
        epochs=8,
        log_every=50,
        eval_every=200,
        save_every=200,
        best="+accuracy",
    )
