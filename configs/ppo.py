"""Aligns a language model with rewards by PPO: a critic, and a divergence from a model.

    python -m trainers.train --config=configs/ppo.py --workdir=runs/ppo \
        --config.init_from=DIR --config.data.source=jsonl:mine/*.jsonl

DIR is a model directory, a folder or an id of the Hugging Face Hub, or a GGUF file. A
line of the data is {"prompt": "2 + 3 =", "answer": "5"}. The prompt may also be a list
of messages; then DIR has a chat template. Rewards read every field of a line: here 1
where the answer is the text of the field `answer`. See `trainers.rewards` for others,
and for the model of `configs/reward.py` as a reward.

A rollout is 64 answers, which 4 epochs learn in 4 steps. The critic has a copy of the
model's body; `--config.objective.shared_body=True` saves it. Adam's epsilon is that of
the method's authors, and stands where TensorFlow puts it.
"""

from trainers.objectives import PPO
from trainers.run import Data, Optimizer, Run


def get_config():
    return Run(
        init_from="HuggingFaceTB/SmolLM2-135M-Instruct",
        objective=PPO(
            max_new_tokens=64,
            rewards=("1 exact_answer:answer",),
            missing_end=-0.5,
        ),
        data=Data(
            source="jsonl:prompts.jsonl",
            format="prompts",
            too_long="drop",
            length=256,
            batch=64,
        ),
        optimizer=Optimizer(
            name="adam", lr=3e-6, decay="constant", beta_2=0.999, epsilon=1e-5
        ),
        steps=400,
        accumulate=8,
        log_every=4,
        eval_every=40,
        save_every=40,
        best="+reward",
    )
