"""Tunes the adapters of a language model on preferences, by LoRA and DPO.

    python -m trainers.train --config=configs/dpo_lora.py --workdir=runs/dpo_lora \
        --config.init_from=DIR --config.data.source=jsonl:pairs.jsonl

The data are those of `configs/dpo.py`. The reference is the same model with its
adapters off, so no second copy of the weights is in memory. The run leaves
`runs/dpo_lora/model`, with the adapters merged, and `runs/dpo_lora/adapter`. The rate
is higher than that of full tuning.
"""

from trainers.objectives import DPO
from trainers.run import Data, Lora, Optimizer, Run


def get_config():
    return Run(
        init_from="HuggingFaceTB/SmolLM2-135M-Instruct",
        lora=Lora(rank=16, alpha=32.0, targets=("all-linear",)),
        objective=DPO(beta=0.1, reference="base"),
        data=Data(
            source="jsonl:pairs.jsonl",
            format="preference",
            too_long="drop",
            length=512,
            batch=16,
        ),
        optimizer=Optimizer(lr=5e-5, warmup=20, final=0.0, weight_decay=0.0),
        accumulate=4,
        steps=300,
        log_every=10,
        eval_every=50,
        save_every=50,
    )
