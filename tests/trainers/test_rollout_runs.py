"""PPO and GRPO in the loop: what learns, what is kept, and known optima again."""

import dataclasses
import json

import numpy as np
import pytest
import safetensors
import tensorflow as tf
from known_optima import (
    bandit,
    distance,
    gibbs,
    probabilities,
    quick_uniforms,  # noqa: F401
)
from tabular_lm import Config, tabular_lm, word_tokenizer  # noqa: F401

import zoo
from trainers import loop
from trainers import roles as roles_lib
from trainers.objectives import GRPO, PPO
from trainers.run import Data, Lora, Optimizer, Run
from zoo import directory

OPTIMIZER = Optimizer(name="adam", lr=1e-3, decay="constant", epsilon=1e-5)


@pytest.fixture(scope="module")
def start(tokenizer, tmp_path_factory):
    tf.keras.utils.set_random_seed(0)
    model = zoo.build(
        "transformer_lm", vocab_size=320, context=32, width=16, layers=1, heads=2
    )
    folder = tmp_path_factory.mktemp("start") / "model"
    directory.save(folder, model, tokenizer)
    return str(folder)


def prompts(folder, text="abc"):
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": text}) for _ in range(8)))
    return f"jsonl:{path}"


def run_of(start, folder, objective, **fields):
    data = Data(source=prompts(folder), format="prompts", batch=8, hold_out=0.0)
    usual = {"steps": 4, "save_every": 4, "log_every": 1, "init_from": start}
    return Run(
        objective=objective, data=data, optimizer=OPTIMIZER, **{**usual, **fields}
    )


def lines(folder):
    return list(map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()))


def stored(folder):
    path = folder / "checkpoints/00000004/state.safetensors"
    with safetensors.safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def ppo(**fields):
    rewards = ("1 contains:a", "0.5 length:3 tokens")
    return PPO(max_new_tokens=4, epochs=2, rewards=rewards, **fields)


@pytest.mark.parametrize(
    "shared",
    [
        pytest.param(False, marks=pytest.mark.long, id="own body"),
        pytest.param(True, id="shared body"),
    ],
)
def test_ppo(start, tmp_path, shared):
    run = run_of(start, tmp_path, ppo(shared_body=shared))
    loop.train(run, tmp_path / "w")
    rows = lines(tmp_path / "w")
    for row in (rows[0], rows[2]):  # the first step of a rollout
        assert row["ratio"] == 1 and row["approx_kl"] == 0 and row["clip_low"] == 0
    assert rows[0]["rollout/kl"] == 0 and rows[2]["rollout/kl"] != 0
    assert rows[1]["ratio"] != 1 and all(row["skipped"] == 0 for row in rows)
    critic = [n for n in stored(tmp_path / "w") if n.startswith("critic/")]
    assert len(critic) == 2 if shared else len(critic) > 10
    kept = directory.load(tmp_path / "w/model").model
    assert type(kept).__name__ == "TransformerLM"


def test_the_critic_copies_the_body_and_has_paths_of_its_own(start, tmp_path):
    run = run_of(start, tmp_path, ppo(), freeze=("critic/body/*",))
    roles = roles_lib.make(run, roles_lib.start(run))
    tokens = tf.constant([[3, 4, 5]])
    np.testing.assert_array_equal(
        roles["critic"].features(tokens), roles["policy"].features(tokens)
    )
    assert not roles["critic"].values(roles["critic"].features(tokens)).numpy().any()
    variables = roles_lib.learning(run, roles)
    paths = roles_lib.paths(run, roles, variables)
    assert len(set(paths)) == len(paths)
    assert [p for p in paths if p.startswith("critic/")] == [
        "critic/value/weight",
        "critic/value/bias",
    ]


@pytest.mark.long
def test_adapters_of_policy_and_critic(start, tmp_path):
    """The reference is the model without its adapters; no base weight changes."""
    objective = ppo(reference="base")
    run = run_of(start, tmp_path, objective, lora=Lora(rank=2))
    loop.train(run, tmp_path / "w")
    rows = lines(tmp_path / "w")
    assert rows[0]["rollout/kl"] == 0 and rows[0]["ratio"] == 1
    assert rows[2]["rollout/kl"] != 0
    found = stored(tmp_path / "w")
    for role in ("policy", "critic"):
        names = {n.split("/")[-1] for n in found if n.startswith(role)}
        assert names - {"weight", "bias"} and all("lora" in n for n in names) == (
            role == "policy"
        )
    assert (tmp_path / "w/adapter/adapter_model.safetensors").exists()


def test_dropout_is_refused(start, tmp_path):
    run = run_of(start, tmp_path, ppo(), lora=Lora(rank=2, dropout=0.1))
    with pytest.raises(ValueError, match="config.lora.dropout: 0.1, 0 allowed"):
        loop.train(run, tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_a_frozen_role_cannot_learn(start, tmp_path):
    @dataclasses.dataclass(kw_only=True)
    class Odd(PPO):
        trains = ("policy", "reference")

    run = run_of(start, tmp_path, Odd())
    with pytest.raises(ValueError, match="'reference' learns, so its source is one of"):
        roles_lib.make(run, roles_lib.start(run))


# ---- known optima, through prompts, tokenizer, rewards and the loop ----

WORDS = "ask ba ce di fo gu hy".split()
WORTH = (0.9, -0.8, 0.1, 0.5, -0.4, 1.0)  # of the words behind "ask"
BETA = 0.5


@pytest.mark.parametrize(
    "objective",
    [
        pytest.param(
            GRPO(samples=16, scale="none", kl_coefficient=BETA),
            marks=pytest.mark.long,
            id="grpo",
        ),
        pytest.param(PPO(kl_coefficient=BETA, clip_value=0.0, epochs=2), id="ppo"),
    ],
)
@pytest.mark.usefixtures("quick_uniforms")
def test_a_bandit_in_the_loop(objective, tmp_path, tabular_lm):  # noqa: F811
    word_tokenizer(WORDS).save(str(tmp_path / "tokenizer"))
    config = Config(vocab_size=8, context=3)
    entries = zip(WORTH, WORDS[1:], strict=True)
    objective = dataclasses.replace(
        objective,
        max_new_tokens=1,
        rewards=tuple(f"{worth} contains:{word}" for worth, word in entries),
    )
    run = Run(
        model=config,
        objective=objective,
        data=Data(
            source=prompts(tmp_path, "ask"),
            format="prompts",
            tokenizer=str(tmp_path / "tokenizer"),
            batch=256,
            hold_out=0.0,
        ),
        optimizer=Optimizer(name="adam", lr=0.1, final=0.02, beta_2=0.999),
        steps=80 * objective.epochs,
        log_every=0,
    )
    loop.train(run, tmp_path / "w")
    rewards = (0, 0, *WORTH)  # of the end token and of the prompt's word
    problem = bandit(config, rewards)._replace(prompt=1)
    start = probabilities(tabular_lm(config), problem)
    policy = probabilities(directory.load(tmp_path / "w/model").model, problem)
    best, _ = gibbs(start, problem, BETA)
    assert distance(start, best) > 0.2
    assert distance(policy, best) < 0.02
