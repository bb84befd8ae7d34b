"""A Transformer LM on the King James Bible: what `make demo` trains.

python -m trainers.train --config=configs/lm_transformer.py --workdir=runs/demo
"""

from trainers.config import Data, Optimizer, Run
from trainers.objectives import LanguageModel
from zoo.models.transformer_lm import Config


def get_config():
    return Run(
        model=Config(vocab_size=2048, context=256, width=256, layers=4, heads=4),
        objective=LanguageModel(),
        data=Data(source="kjv", batch=16),
        optimizer=Optimizer(lr=2e-3, warmup=50),
        steps=100,
        log_every=10,
        eval_every=50,
        save_every=50,
    )
