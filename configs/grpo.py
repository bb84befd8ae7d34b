"""Aligns a language model with rewards by GRPO: groups of answers, no critic.

    python -m trainers.train --config=configs/grpo.py --workdir=runs/grpo \
        --config.init_from=DIR --config.data.source=jsonl:mine/*.jsonl

DIR is a model directory, a folder or an id of the Hugging Face Hub, or a GGUF file. A
line of the data is {"prompt": "2 + 3 =", "answer": "5"}. The prompt may also be a list
of messages; then DIR has a chat template. Rewards read every field of a line: here 1
where the answer is the text of the field `answer`. See `trainers.rewards` for others.

A step learns 64 answers, 8 to each of 8 prompts. Rewards are divided by the deviation
of their group. `--config.objective.scale=none` optimises the mean reward itself, and
`--config.objective.kl_coefficient=0.05` holds the policy near its start.
"""

from trainers.objectives import GRPO
from trainers.run import Data, Optimizer, Run


def get_config():
    return Run(
        init_from="HuggingFaceTB/SmolLM2-135M-Instruct",
        objective=GRPO(
            samples=8,
            max_new_tokens=64,
            rewards=("1 exact_answer:answer",),
        ),
        data=Data(
            source="jsonl:prompts.jsonl",
            format="prompts",
            too_long="drop",
            length=256,
            batch=64,
        ),
        optimizer=Optimizer(
            lr=2e-6, warmup=10, decay="constant", weight_decay=0.0, beta_2=0.999
        ),
        steps=200,
        accumulate=8,
        log_every=1,
        eval_every=20,
        save_every=20,
        best="+reward",
    )
