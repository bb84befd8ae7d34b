"""Distils a small Transformer from the model of `make demo`.

    python -m trainers.train --config=configs/distill.py --workdir=runs/distilled

The teacher is any model directory with the tokens of the student. So the tokenizer is
the teacher's. Another teacher needs both fields:

    --config.objective.teacher=DIR --config.data.tokenizer=DIR

    python -m benchmarks.distillation
"""

from trainers.objectives import Distill
from trainers.run import Data, Optimizer, Run
from zoo.models.transformer_lm import Config


def get_config():
    return Run(
        model=Config(
            vocab_size=2048,
            context=256,
            width=96,
            layers=2,
            heads=3,
            norm="rmsnorm",
            positions="rotary",
            activation="relu_squared",
            qkv_bias=False,
            out_bias=False,
            mlp_bias=False,
        ),
        objective=Distill(teacher="runs/demo/model", alpha=0.9),
        data=Data(source="kjv", tokenizer="runs/demo/model", batch=4),
        optimizer=Optimizer(lr=2.5e-3, warmup=60, final=0.02),
        steps=1200,
        log_every=100,
        eval_every=400,
        save_every=400,
    )
