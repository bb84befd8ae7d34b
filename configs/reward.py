"""Trains a reward model on preferences: a number for a prompt and an answer.

    python -m trainers.train --config=configs/reward.py --workdir=runs/reward \
        --config.init_from=DIR --config.data.source=jsonl:pairs.jsonl

The data are those of `configs/dpo.py`. A line may also have a "margin", by how much the
chosen answer is better; or a list of texts as "rejected", of which each is worse.

The kept model answers with rewards of mean 0 and deviation 1 over the answers of the
training data. Its SavedModel has the signature `regress`: the text is a prompt with its
answer.
"""

from trainers.objectives import Reward
from trainers.run import Data, Optimizer, Run
from zoo.models import headed


def get_config():
    return Run(
        init_from="HuggingFaceTB/SmolLM2-135M-Instruct",
        model=headed.Config(body=None, task="regress", classes=0),
        objective=Reward(),
        data=Data(
            source="jsonl:pairs.jsonl",
            format="preference",
            too_long="drop",
            length=512,
            batch=16,
        ),
        optimizer=Optimizer(lr=1e-5, warmup=20, final=0.0, weight_decay=0.0),
        accumulate=4,
        steps=300,
        log_every=10,
        eval_every=50,
        save_every=50,
        best="+accuracy",
    )
