"""Learns to translate with a recurrent encoder-decoder (Bahdanau et al. 2014).

    python -m trainers.train --config=configs/translate_recurrent.py \
        --workdir=runs/translate_recurrent --config.data.source=jsonl:pairs.jsonl \
        --config.data.fields="('source=en', 'target=de')"

The data are those of `configs/translate.py`. The paper has layers of 1,000 units and
500,000 updates; this is a small model for a small corpus.
"""

from trainers.objectives import LanguageModel
from trainers.run import Data, Optimizer, Run
from zoo.models.recurrent_encoder_decoder import Config


def get_config():
    return Run(
        model=Config(
            cell="gru", vocab_size=8000, context=160, width=256, units=256, dropout=0.2
        ),
        objective=LanguageModel(label_smoothing=0.1),
        data=Data(
            source="jsonl:pairs.jsonl", format="seq2seq", too_long="drop", batch=64
        ),
        optimizer=Optimizer(
            lr=2e-3, warmup=200, final=0.02, weight_decay=0.01, ema=0.995
        ),
        steps=4000,
        log_every=100,
        eval_every=1000,
        save_every=500,
    )
