"""A GRU LM on the King James Bible.

python -m trainers.train --config=configs/lm_gru.py --workdir=runs/gru

On two cores of a Xeon with AVX-512, shared with other work: 1.986 bits per byte on the
test books after 5 min 55 s.
"""

from trainers.objectives import LanguageModel
from trainers.run import Data, Optimizer, Run
from zoo.models.recurrent_lm import Config


def get_config():
    return Run(
        model=Config(
            cell="gru",
            vocab_size=2048,
            context=128,
            width=512,
            units=512,
            layers=1,
            dropout=0.1,
            tied_head=True,
        ),
        objective=LanguageModel(),
        data=Data(source="kjv", batch=32),
        optimizer=Optimizer(lr=4e-3, warmup=50, final=0.02, weight_decay=0.01),
        steps=300,
        log_every=20,
        eval_every=150,
        save_every=150,
    )
