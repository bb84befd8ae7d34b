"""Tunes a language model on preferences, by direct preference optimisation.

    python -m trainers.train --config=configs/dpo.py --workdir=runs/dpo \
        --config.init_from=DIR --config.data.source=jsonl:pairs.jsonl

DIR is a model directory, a folder or an id of the Hugging Face Hub: the model that the
answers are like, such as one of `configs/sft_chat.py`. A line of the data is
{"prompt": "...", "chosen": "...", "rejected": "..."}; prompts may be lists of messages,
and so may chosen and rejected.

The reference is the model before the first step. Its log-probabilities are computed
once and kept in the workdir. Other losses are --config.objective.kind=ipo and so on;
those without a reference, orpo and simpo, need --config.objective.reference= too.
"""

from trainers.objectives import DPO
from trainers.run import Data, Optimizer, Run


def get_config():
    return Run(
        init_from="HuggingFaceTB/SmolLM2-135M-Instruct",
        objective=DPO(beta=0.1, reference="cached"),
        data=Data(
            source="jsonl:pairs.jsonl",
            format="preference",
            too_long="drop",
            length=512,
            batch=16,
        ),
        optimizer=Optimizer(lr=1e-6, warmup=20, final=0.0, weight_decay=0.0),
        accumulate=4,
        steps=300,
        log_every=10,
        eval_every=50,
        save_every=50,
    )
