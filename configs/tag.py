"""A bidirectional Transformer that gives each word of a text its tag.

    python -m benchmarks.tagging --write=runs/brown --steps=0
    python -m trainers.train --config=configs/tag.py --workdir=runs/tag \
        --config.data.source=jsonl:runs/brown/train.jsonl

A line of the file is an object with words and as many tags:
{"tokens": ["The", "jury", "said"], "tags": ["at", "nn", "vbd"]}. The first command
writes the Brown corpus in this form. Nothing is held out: rare tags would then occur
in the evaluation data only, which is refused. To evaluate while training, name all tags
as --config.model.labels and set --config.data.hold_out. The measured results are in
docs/tasks.md.
"""

from trainers.objectives import Classify
from trainers.run import Data, Optimizer, Run
from zoo.models import headed, text_encoder


def get_config():
    return Run(
        model=headed.Config(
            body=text_encoder.Config(
                vocab_size=8192,
                context=256,
                width=192,
                layers=3,
                heads=6,
                dropout=0.1,
            ),
            task="tag",
            classes=0,
            dropout=0.2,
        ),
        objective=Classify(label_smoothing=0.05),
        data=Data(
            source="jsonl:words.jsonl",
            format="tag",
            too_long="cut",
            hold_out=0.0,
            batch=64,
        ),
        optimizer=Optimizer(lr=1.5e-3, warmup=400, final=0.0, weight_decay=0.05),
        epochs=12,
        log_every=100,
        save_every=1000,
    )
