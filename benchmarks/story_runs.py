"""The Runs of `benchmarks.align_story`: those of configs/, for a small model."""

import dataclasses
import pathlib
from typing import NamedTuple

from benchmarks import story_data, story_rewards
from configs import dpo as dpo_config
from configs import grpo as grpo_config
from configs import ppo as ppo_config
from configs import reward as reward_config
from configs import sft_chat
from trainers.objectives import DPO
from trainers.run import Data, Optimizer, Run
from zoo.models import transformer_lm

CONTEXT = 384  # tokens of a question with its answer
LONGEST = 128  # tokens of an answer that is sampled
# the end is learnt first; it alone makes the rewards of most groups differ
REWARDS = (
    f"0.2 {story_rewards.ending.__name__}",
    f"0.8 {story_rewards.annotations.__name__}",
)


class Size(NamedTuple):
    """How long the stages are.

    Attributes:
      sft, dpo, reward, ppo, grpo: optimizer steps.
      prompts: test questions.
      pairs: test pairs; 0 is all.
      batch: answers, or twice the pairs, of a step.
    """

    sft: int
    dpo: int
    reward: int
    ppo: int
    grpo: int
    prompts: int
    pairs: int
    batch: int


FULL = Size(1200, 80, 80, 100, 100, 300, 0, 64)
QUICK = Size(6, 2, 2, 4, 2, 6, 16, 16)


def sft(folder: pathlib.Path, size: Size) -> Run:
    """A new model that imitates the answers; only they are learnt."""
    run = sft_chat.get_config()
    return dataclasses.replace(
        run,
        init_from="",
        model=transformer_lm.Config(
            vocab_size=story_data.VOCABULARY,
            context=CONTEXT,
            width=256,
            layers=4,
            heads=4,
        ),
        data=_data(run.data, folder, "chats", 8, tokenizer=f"{folder}/data/tokenizer"),
        optimizer=Optimizer(lr=2e-3, warmup=size.sft // 20, final=0.05),
        steps=size.sft,
        epochs=0,
        **_every(size.sft),
    )


def dpo(folder: pathlib.Path, size: Size) -> Run:
    """DPO from the model of `sft`, of all weights."""
    run = dpo_config.get_config()
    return _tuned(
        run,
        folder,
        objective=DPO(beta=0.1),
        data=_data(run.data, folder, "pairs", size.batch // 4, length=CONTEXT),
        optimizer=dataclasses.replace(run.optimizer, lr=1e-4, warmup=5),
        steps=size.dpo,
        **_every(size.dpo),
    )


def reward(folder: pathlib.Path, size: Size) -> Run:
    """A reward model with the body of `sft`, of all weights."""
    run = reward_config.get_config()
    return _tuned(
        run,
        folder,
        data=_data(run.data, folder, "pairs", size.batch // 4, length=CONTEXT),
        optimizer=dataclasses.replace(run.optimizer, lr=2e-4, warmup=5),
        steps=size.reward,
        **_every(size.reward),
    )


def ppo(folder: pathlib.Path, size: Size) -> Run:
    """PPO from the model of `sft`; two epochs a rollout."""
    run = ppo_config.get_config()
    objective = dataclasses.replace(
        run.objective,
        epochs=2,
        kl_coefficient=0.02,
        max_new_tokens=LONGEST,
        missing_end=0.0,
        rewards=REWARDS,
    )
    return _policy(run, folder, objective, size.ppo, size.batch)


def grpo(folder: pathlib.Path, size: Size) -> Run:
    """GRPO from the model of `sft`, with the divergence as a part of the objective."""
    run = grpo_config.get_config()
    objective = dataclasses.replace(
        run.objective, kl_coefficient=0.02, max_new_tokens=LONGEST, rewards=REWARDS
    )
    return _policy(run, folder, objective, size.grpo, size.batch)


def _policy(run, folder, objective, steps, batch) -> Run:
    """A Run that learns a reward."""
    return _tuned(
        run,
        folder,
        objective=objective,
        data=_data(run.data, folder, "prompts", batch, length=CONTEXT),
        optimizer=dataclasses.replace(run.optimizer, lr=1e-4),
        steps=steps,
        **_every(steps, objective.period),
    )


def _tuned(run, folder, **fields) -> Run:
    """A Run from the model of `sft`."""
    return dataclasses.replace(
        run, init_from=f"{folder}/sft/model", **{"accumulate": 1, **fields}
    )


def _data(data: Data, folder, name, batch, **fields) -> Data:
    """The files of `story_data`; what is too long is left out."""
    return dataclasses.replace(
        data,
        source=f"jsonl:{folder}/data/{name}.jsonl",
        valid=f"jsonl:{folder}/data/{name}_valid.jsonl",
        too_long="drop",
        batch=batch,
        **fields,
    )


def _every(steps, period=1) -> dict[str, int]:
    """When a Run evaluates and saves: four times."""
    every = max(steps // 4 // period, 1) * period
    log = max(steps // 40, 1) if period == 1 else period
    return {"eval_every": every, "save_every": every, "log_every": log}
