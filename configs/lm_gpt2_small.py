"""GPT-2 small, 124M parameters, on text of your own.

    python -m trainers.train --config=configs/lm_gpt2_small.py --workdir=runs/gpt2 \
        --config.data.source=text:corpus/*.txt

A corpus must support 50,257 tokens. The whole run is for accelerators; two of its steps
on the King James Bible, with --config.model.vocab_size=8192 --config.data.batch=8
--config.precision=float32 --config.steps=2, made 194 tokens/s on two cores of a Xeon.
"""

from trainers.objectives import LanguageModel
from trainers.run import Data, Optimizer, Run
from zoo.models.transformer_lm import Config


def get_config():
    return Run(
        model=Config(
            vocab_size=50257, context=1024, width=768, layers=12, heads=12, dropout=0.1
        ),
        objective=LanguageModel(),
        data=Data(source="kjv", batch=32),
        optimizer=Optimizer(lr=6e-4, warmup=700, final=0.1, weight_decay=0.1),
        steps=20000,
        precision="bfloat16",
        accumulate=8,
        log_every=10,
        eval_every=500,
        save_every=500,
    )
