"""A bidirectional Transformer that learns to guess hidden tokens of the Bible.

    python -m trainers.train --config=configs/masked_lm.py --workdir=runs/masked

The tokenizer is new, with the tokens [CLS], [SEP] and [MASK] of BERT. To go on with the
training of a pretrained masked language model on texts of your own, leave `model` out
and give --config.init_from=DIR.
"""

from trainers.objectives import LanguageModel
from trainers.run import Data, Optimizer, Run
from zoo.models import headed, text_encoder


def get_config():
    return Run(
        model=headed.Config(
            task="fill_mask",
            hidden=True,
            body=text_encoder.Config(
                vocab_size=2048, context=128, width=192, layers=4, heads=3
            ),
        ),
        objective=LanguageModel(),
        data=Data(source="kjv", batch=16),
        optimizer=Optimizer(lr=1e-3, warmup=100, final=0.02),
        steps=2000,
        log_every=100,
        eval_every=500,
        save_every=500,
    )
