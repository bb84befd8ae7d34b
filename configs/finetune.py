"""Continues the training of a pretrained language model on text of your own.

    python -m trainers.train --config=configs/finetune.py --workdir=runs/tuned \
        --config.init_from=DIR --config.data.source=text:mine/*.txt

DIR is a model directory, a folder or an id of the Hugging Face Hub, or a GGUF file. The
model, the tokenizer and the defaults of generation are those of DIR. Without the two
fields, the config tunes the model of `make demo` on the King James Bible.
"""

from trainers.objectives import LanguageModel
from trainers.run import Data, Optimizer, Run


def get_config():
    return Run(
        init_from="runs/demo/model",
        objective=LanguageModel(),
        data=Data(source="kjv", batch=4),
        optimizer=Optimizer(lr=5e-5, warmup=20, final=0.0, weight_decay=0.0),
        steps=200,
        log_every=10,
        eval_every=50,
        save_every=50,
    )
