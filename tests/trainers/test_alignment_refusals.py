"""What alignment refuses: one message, before the first step, with nothing written.

More refusals are tested beside what they are of: `test_preferences_feed`,
`test_rollouts`, `test_rollout_runs` and `objectives/test_rollout_objectives`.
"""

import dataclasses
import json
import pathlib
from typing import Any

import keras
import pytest

import zoo
from trainers import feeds, loop, objectives, rewards
from trainers import roles as roles_lib
from trainers.objectives import DPO, GRPO, PPO, Reward
from trainers.rollouts import rollouts
from trainers.run import Data, Run, from_json, to_json
from zoo import directory
from zoo.models import headed, transformer_lm

SIZES = dict(vocab_size=300, context=32, width=16, layers=1, heads=2)
REWARD = headed.Config(body=None, task="regress", classes=0)
CHAT = [{"role": "user", "content": "abc"}]


@pytest.fixture(scope="module")
def places(tokenizer, tmp_path_factory):
    """Model directories and data, by the names in braces in the cases below."""
    folder = tmp_path_factory.mktemp("places")
    keras.utils.set_random_seed(0)
    first = zoo.build("transformer_lm", **SIZES)
    larger = zoo.build("transformer_lm", **{**SIZES, "vocab_size": 301})
    for name, model in (("first", first), ("larger", larger)):
        directory.save(folder / name, model, tokenizer)
    answers = [{"role": "assistant", "content": text} for text in "bc"]
    prompt = {"prompt": "abc", "answer": "b"}
    pair = {"prompt": "abc", "chosen": "b", "rejected": "c"}
    chosen, rejected = ([*CHAT, answer] for answer in answers)
    files = {
        "prompts": [{**prompt, "prompt": f"abc {i}"} for i in range(12)],
        "one_lacks": [*[prompt] * 8, {"prompt": "cab"}],
        "long": [prompt, {**prompt, "prompt": "abc " * 40}],
        "chats": [{"prompt": CHAT, "answer": "b"}] * 8,
        "answered": [{"prompt": [*CHAT, answers[0]], "answer": "b"}] * 8,
        "pairs": [{**pair, "prompt": f"abc {i}"} for i in range(12)],
        "unpaired": [*[pair] * 8, {"prompt": "abc", "chosen": "b", "rejected": None}],
        "pairs_of_chats": [{"chosen": chosen, "rejected": rejected}] * 8,
    }
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = {name: f"jsonl:{folder / name}.jsonl" for name in files}
    return found | {"first": str(folder / "first"), "larger": str(folder / "larger")}


def sampled(cls, **fields):
    """The objective, and data for it."""
    usual = dict(samples=2, epochs=1, max_new_tokens=4, rewards=("1 exact_answer",))
    return cls(**{**usual, **fields}), "prompts"


def run_of(places, objective, source, data=None, **fields):
    format = "prompts" if objective.feed == "rollouts" else "preference"
    usual = dict(source=places[source], format=format, batch=4, hold_out=0.0)
    fields = dict(init_from=places["first"], steps=2, log_every=1) | fields
    if isinstance(objective, Reward):
        fields["model"] = REWARD
    return Run(objective=objective, data=Data(**usual | (data or {})), **fields)


def refused(run, folder) -> str:
    """The message of a run that is refused before it writes anything."""
    with pytest.raises(ValueError) as error:
        loop.train(run, folder / "w")
    assert not (folder / "w").exists()
    message = str(error.value)
    assert "\n" not in message
    return message


# ---- rewards and prompts ----


@pytest.mark.parametrize(
    "rewards, source, words",
    [
        (
            "1 exact_answer:anwser",
            "prompts",
            "prompts.jsonl, line 1: no column 'anwser', which config.objective.rewards "
            "'1 exact_answer:anwser' reads. Did you mean answer? Allowed: answer, ",
        ),
        ("1 number_after:=|sum", "prompts", "'1 number_after:=|sum' reads. Allowed"),
        ("1 exact_answer", "one_lacks", "one_lacks.jsonl, line 9: no column 'answer'"),
        ("1 exact_anwser", "prompts", "unknown 'exact_anwser'. Did you mean exact_a"),
        ("1 model:{first}", "prompts", "first has the task 'generate', regress"),
        (
            "1 contains:a",
            "long",
            "line 2: 121 tokens, at most 29 allowed; config.data.too_long may be drop",
        ),
        (
            "1 contains:a",
            "chats",
            "chats.jsonl, line 1: chat_template: the tokenizer has none",
        ),
        ("1 contains:a", "answered", "the last message is the assistant's"),
    ],
)
def test_rewards_and_prompts(places, tmp_path, rewards, source, words):
    entry = rewards.replace("{first}", places["first"])
    objective, _ = sampled(GRPO, rewards=(entry,))
    message = refused(run_of(places, objective, source), tmp_path)
    assert words in message
    assert " or cut" not in message  # which prompts refuse


def test_some_examples_may_lack_a_column_where_errors_score(places):
    fields = {"reward_errors": "score"}
    objective, _ = sampled(GRPO, **fields)
    run = run_of(places, objective, "one_lacks")
    assert feeds.make(run, roles_lib.start(run)).rows == 18
    objective, _ = sampled(GRPO, rewards=("1 exact_answer:sum",), **fields)
    run = run_of(places, objective, "one_lacks")
    with pytest.raises(ValueError, match="no column 'sum'"):
        feeds.make(run, roles_lib.start(run))


# ---- preferences ----


@pytest.mark.parametrize("objective", [DPO(), Reward()], ids=["dpo", "reward"])
@pytest.mark.parametrize(
    "source, words",
    [
        ("unpaired", "unpaired.jsonl, line 9: rejected: None, a text allowed"),
        (
            "pairs_of_chats",
            "chats.jsonl, line 1: chat_template: the tokenizer has none",
        ),
    ],
)
def test_pairs(places, tmp_path, objective, source, words):
    assert words in refused(run_of(places, objective, source), tmp_path)


# ---- models ----


@pytest.mark.parametrize("cls", [GRPO, PPO])
def test_models(places, tmp_path, cls):
    name = cls.name
    larger = sampled(cls, kl_coefficient=0.1, reference=places["larger"])
    message = refused(run_of(places, *larger), tmp_path)
    assert "config.objective.reference: " in message
    assert "has a vocabulary of 301, and the model that learns one of 300" in message
    for reference, words in (
        ("base", "'base', the model without adapters, but config.lora.rank is 0"),
        ("cached", f"config.objective.reference: 'cached', but {name} samples new"),
    ):
        objective = sampled(cls, kl_coefficient=0.1, reference=reference)
        assert words in refused(run_of(places, *objective), tmp_path)
    dropout = transformer_lm.Config(**SIZES, dropout=0.1)
    run = run_of(places, *sampled(cls), model=dropout)
    message = refused(run, tmp_path)
    assert "config.model.dropout: 0.1, 0 allowed: with dropout, what is" in message


# ---- numbers and names ----


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"samples": 1}, "objective.samples: 1, 2 or more allowed"),
        ({"kl": "k1", "kl_place": "loss"}, "objective.kl: 'k1' in the loss"),
        ({"kl": "k3"}, "objective.kl: 'k3' in the reward"),
        ({"sample": 2}, "Did you mean samples?"),
    ],
)
def test_overrides(places, fields, words):
    """What a config or --config.objective.FIELD gives passes the same checks."""
    value = to_json(run_of(places, *sampled(GRPO)))
    value["objective"] |= fields
    with pytest.raises(ValueError) as error:
        from_json(value, objectives.BY_NAME)
    assert words in str(error.value)


def test_numbers_of_answers(places, tmp_path):
    objective = sampled(PPO, samples=4, minibatches=3)
    run = run_of(places, *objective, steps=12, data={"batch": 2})
    words = "samples: 4, a divisor of data.batch x objective.minibatches = 6 allowed"
    assert words in refused(run, tmp_path)
    run = run_of(places, *sampled(PPO, epochs=4, minibatches=2), steps=12)
    words = "config.steps: 12, a multiple of 8 allowed: the objective ppo learns each"
    assert words in refused(run, tmp_path)


@pytest.mark.parametrize(
    "objective, source",
    [
        (DPO(), "pairs"),
        (DPO(kind="kto"), "pairs"),
        (Reward(), "pairs"),
        sampled(GRPO),
    ],
    ids=["dpo", "kto", "reward", "grpo"],
)
def test_the_best_by_an_unknown_metric(places, tmp_path, objective, source):
    """All metrics that the message allows are there in an evaluation."""
    fields = {"eval_every": 2, "data": {"hold_out": 0.3}}
    wrong = run_of(places, objective, source, best="+acuracy", **fields)
    message = refused(wrong, tmp_path)
    start, _, rest = message.partition("; one of ")
    assert start == "config.best: '+acuracy'"
    allowed = rest.partition(" allowed")[0].split(", ")
    run = run_of(places, objective, source, best=allowed[0], **fields)
    start = roles_lib.start(run)
    feed = feeds.make(run, start)
    assert set(allowed) == set(feed.evaluate(roles_lib.make(run, start)))


# ---- what a run leaves behind ----


def children():
    """The ids of the processes that this one started."""
    tasks = pathlib.Path("/proc/self/task").glob("*/children")
    return {pid for task in tasks for pid in task.read_text().split()}


@pytest.mark.parametrize("where", ["length", "best", "steps", "step"])
def test_no_worker_outlives_a_run_that_fails(places, tmp_path, monkeypatch, where):
    objective, source = sampled(GRPO)
    fields: dict[str, Any] = {
        "best": {"eval_every": 2, "data": {"hold_out": 0.3}},
        "steps": {"save_every": 3, "steps": 4},
    }.get(where, {})
    if where == "steps":
        objective = dataclasses.replace(objective, minibatches=2)
    before, started = children(), set()
    make = rewards.make

    def counted(*args):
        made = make(*args)
        started.update(children() - before)
        return made

    def fails(*_):
        raise ValueError("this fails")

    monkeypatch.setattr(rewards, "make", counted)
    if where == "length":
        monkeypatch.setattr(rewards.Rewards, "check_length", fails)
    if where == "step":
        monkeypatch.setattr(rollouts.Rollouts, "_rollout", fails)
    # the error's traceback keeps all variables of the run
    with pytest.raises(ValueError) as error:
        loop.train(run_of(places, objective, source, **fields), tmp_path / "w")
    assert started and not children() & started, error
