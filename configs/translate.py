"""Learns to translate from pairs of your own.

    python -m trainers.train --config=configs/translate.py --workdir=runs/translate \
        --config.data.source=jsonl:pairs.jsonl \
        --config.data.fields="('source=en', 'target=de')"

A line of the data is {"en": ..., "de": ...}. Another pair of languages needs other
columns and nothing else. Both languages share one vocabulary, which is learnt from the
data.
"""

from trainers.objectives import LanguageModel
from trainers.run import Data, Optimizer, Run
from zoo.models.encoder_decoder_config import Config


def get_config():
    return Run(
        model=Config(
            vocab_size=8000,
            context=160,
            width=256,
            encoder_layers=3,
            layers=3,
            heads=4,
            scaled_embedding=True,
            positions="sinusoidal",
            dropout=0.15,
        ),
        objective=LanguageModel(label_smoothing=0.1),
        data=Data(
            source="jsonl:pairs.jsonl", format="seq2seq", too_long="drop", batch=64
        ),
        optimizer=Optimizer(
            lr=1.5e-3, warmup=400, final=0.02, weight_decay=0.01, beta_2=0.98, ema=0.995
        ),
        steps=4000,
        log_every=100,
        eval_every=1000,
        save_every=500,
    )
