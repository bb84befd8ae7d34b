"""Tunes sentence embeddings on pairs of texts: neighbouring verses of the Bible.

    python -m trainers.train --config=configs/embed.py --workdir=runs/embed \
        --config.init_from=DIR

DIR is a text encoder or a language model: a model directory, or a folder or an id of
the Hugging Face Hub. For pairs of your own, set --config.data.source=jsonl:pairs.jsonl.
A line is {"text": "...", "positive": "..."}, and may have a hard "negative".

    python -m benchmarks.sentence_embeddings
"""

from trainers.objectives import Contrastive
from trainers.run import Data, Optimizer, Run


def get_config():
    return Run(
        init_from="sentence-transformers/all-MiniLM-L6-v2",
        objective=Contrastive(),
        data=Data(source="kjv:neighbours", format="pair", batch=32),
        optimizer=Optimizer(lr=5e-5, warmup=10, final=0.0, weight_decay=0.01),
        steps=100,
        log_every=10,
        eval_every=50,
        save_every=50,
        best="+recall_at_5",
    )
