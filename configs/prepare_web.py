"""Prepares text of the web: strict filters, no private data, no repeated lines.

python -m zoo.prepare --config=configs/prepare_web.py --config.source=text:CRAWL/*.txt \
    --output=runs/web

Holds out documents by a hash of their text, and tells how much of the questions of an
evaluation is in the training documents: --config.against="('jsonl:test.jsonl#text',)"
"""

from zoo.data import stages
from zoo.data.preparation import Recipe


def get_config():
    return Recipe(
        source="text:*.txt",
        stages=("html", "mojibake", *stages.DEFAULT, "c4_quality", "pii"),
        near=0.8,
        lines=6,
        valid=0.005,
        test=0.005,
        max_bad_rows=100,
        vocab_size=32768,
    )
