"""Learns to summarize from documents with summaries of your own.

    python -m trainers.train --config=configs/summarize.py --workdir=runs/summarize \
        --config.data.source=jsonl:documents.jsonl \
        --config.data.fields="('source=document', 'target=summary')"

A line of the data is {"document": ..., "summary": ...}. A longer document is cut, so
the model reads its beginning.
"""

from trainers.objectives import LanguageModel
from trainers.run import Data, Optimizer, Run
from zoo.models.encoder_decoder_config import Config


def get_config():
    return Run(
        model=Config(
            vocab_size=8000,
            context=64,
            source_context=160,
            width=256,
            encoder_layers=3,
            layers=3,
            heads=4,
            scaled_embedding=True,
            positions="sinusoidal",
            dropout=0.1,
        ),
        objective=LanguageModel(label_smoothing=0.1),
        data=Data(
            source="jsonl:documents.jsonl", format="seq2seq", too_long="cut", batch=64
        ),
        optimizer=Optimizer(
            lr=1.5e-3, warmup=400, final=0.02, weight_decay=0.01, beta_2=0.98, ema=0.995
        ),
        steps=4000,
        log_every=100,
        eval_every=1000,
        save_every=500,
    )
