"""Teaches a pretrained language model to summarize, by LoRA.

    python -m trainers.train --config=configs/summarize_lora.py --workdir=runs/lora \
        --config.init_from=DIR --config.data.source=jsonl:documents.jsonl

A line of the data is {"instruction": "Summarize the document.", "input": a document,
"output": its summary}; --config.data.fields names other columns. This is the other way
to what configs/summarize.py does: a decoder alone, which reads the document in a
prompt.
"""

from trainers.objectives import LanguageModel
from trainers.run import Data, Lora, Optimizer, Run


def get_config():
    return Run(
        init_from="HuggingFaceTB/SmolLM2-135M",
        lora=Lora(rank=16, alpha=32.0, dropout=0.05, targets=("all-linear",)),
        objective=LanguageModel(),
        data=Data(
            source="jsonl:documents.jsonl",
            format="instruction",
            pack="best_fit",
            too_long="drop",
            length=512,
            batch=8,
        ),
        optimizer=Optimizer(lr=2e-4, warmup=20, final=0.0, weight_decay=0.0),
        steps=300,
        log_every=10,
        eval_every=50,
        save_every=50,
    )
