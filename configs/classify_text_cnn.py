"""A convolutional network that tells classes of texts (Kim 2014, arXiv:1408.5882).

    python -m trainers.train --config=configs/classify_text_cnn.py --workdir=runs/cnn \
        --config.data.source=jsonl:mails.jsonl

The file is that of configs/classify_text.py. Longer texts are cut at 512 tokens. The
measured results are in docs/tasks.md.
"""

from trainers.objectives import Classify
from trainers.run import Data, Optimizer, Run
from zoo.models.text_cnn import Config


def get_config():
    return Run(
        model=Config(vocab_size=8192, context=512, classes=0),
        objective=Classify(),
        data=Data(
            source="jsonl:texts.jsonl",
            format="classify",
            too_long="cut",
            hold_out=0.2,
            batch=32,
        ),
        optimizer=Optimizer(name="adam", lr=1e-3, final=0.0),
        epochs=6,
        log_every=50,
        eval_every=200,
        save_every=200,
        best="+accuracy",
    )
