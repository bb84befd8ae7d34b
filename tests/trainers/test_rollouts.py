"""Rollouts: what is sampled and scored; neither stops nor paths change bits."""

import dataclasses
import json
import signal
from typing import Any, ClassVar

import numpy as np
import pytest
import tensorflow as tf

import zoo
from trainers import feeds, loop, objectives
from trainers import roles as roles_lib
from trainers.objectives.features import features
from trainers.objectives.loss import Loss
from trainers.objectives.rollout_options import RolloutOptions
from trainers.objectives.sampled import sampled_logprobs
from trainers.rollouts import plan
from trainers.run import Data, Optimizer, Run
from zoo import directory
from zoo.decode import generate
from zoo.generation_config import GenerationConfig


@dataclasses.dataclass(kw_only=True, slots=True)
class Reinforce(RolloutOptions):
    """The least objective of rollouts: every token of an answer has its reward."""

    name: ClassVar[str] = "reinforce"
    trains: ClassVar[tuple[str, ...]] = ("policy",)
    needs: ClassVar[dict[str, str]] = {"policy": "model", "reference": "start"}

    kl_coefficient: float = 0.5
    kl_target: float = 0.0
    kl_horizon: float = 100.0

    def advantages(self, rollout) -> dict[str, Any]:
        reward_NG = tf.reshape(rollout["rewards"], [-1, self.samples])
        mean_N1 = tf.reduce_mean(reward_NG, 1, keepdims=True)
        advantage_N = tf.reshape(reward_NG - mean_N1, [-1])
        return {"advantages": rollout["weights"] * advantage_N[:, None]}

    def loss(self, roles, batch, training) -> Loss:
        policy = roles["policy"]
        x_ND = features(policy, batch, training)
        logp_BT, _ = sampled_logprobs(policy, x_ND, batch["targets"], self)
        weights_BT = batch["weights"]
        ratio_BT = tf.exp(logp_BT - batch["old_logprobs"])
        weight = tf.reduce_sum(weights_BT)
        total = -tf.reduce_sum(weights_BT * ratio_BT * batch["advantages"])
        error = tf.reduce_sum(weights_BT * tf.abs(ratio_BT - 1))
        apart = tf.abs(batch["own_logprobs"] - batch["reference_logprobs"])
        return Loss(
            total,
            weight,
            {
                "ratio_error": (error, weight),
                "reference_error": (tf.reduce_sum(weights_BT * apart), weight),
            },
        )


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(objectives.BY_NAME, "reinforce", Reinforce)


@pytest.fixture(scope="module")
def start(tokenizer, tmp_path_factory):
    """A tiny model directory, whose vocabulary has rows behind the tokenizer's."""
    tf.keras.utils.set_random_seed(0)
    model = zoo.build(
        "transformer_lm", vocab_size=320, context=64, width=16, layers=1, heads=2
    )
    for i, v in enumerate(model.trainable_weights):
        noise = tf.random.stateless_normal(v.shape, [i, 7], stddev=0.2)
        v.assign(tf.convert_to_tensor(v.value) + noise)
    folder = tmp_path_factory.mktemp("start") / "model"
    directory.save(folder, model, tokenizer)
    return folder


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    rows = [
        {"question": " ".join(["abc"] * (1 + i % 5)) + f" {i}", "word": "a"}
        for i in range(20)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def run_of(start, prompts, data=(), objective=(), **fields):
    usual = {"samples": 2, "minibatches": 2, "epochs": 2, "max_new_tokens": 6}
    options = {**usual, "rewards": ("1 contains:a", "0.5 length:3"), **dict(objective)}
    source = Data(
        **{
            "source": f"jsonl:{prompts}",
            "format": "prompts",
            "fields": ("prompt=question",),
            "hold_out": 0.2,
            "batch": 4,
            **dict(data),
        }
    )
    fields = {"steps": 8, "save_every": 4, "log_every": 1, **fields}
    return Run(
        objective=Reinforce(**options),
        data=source,
        optimizer=Optimizer(lr=1e-2, decay="constant"),
        init_from=str(start),
        **fields,
    )


def made(run):
    """The feed of a Run and its roles."""
    begun = roles_lib.start(run)
    return feeds.make(run, begun), roles_lib.make(run, begun)


def lines(folder, split="train"):
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [row for row in rows if row["split"] == split]


def ending(folder):
    """The bits of the kept model, and of every logged number that is no time."""
    model = (folder / "model" / "model.safetensors").read_bytes()
    timed = ("second", "data_wait")
    rows = [
        {k: v for k, v in row.items() if not any(word in k for word in timed)}
        for row in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    ]
    return model, rows


def whole_run(start, prompts):
    options = {"kl_target": 0.1, "temperature": 0.7, "top_k": 50, "missing_end": -0.25}
    return run_of(start, prompts, objective=options, eval_every=4, best="+reward")


@pytest.fixture(scope="module")
def whole(start, prompts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "w"
    objectives.BY_NAME["reinforce"] = Reinforce
    run = whole_run(start, prompts)
    loop.train(run, folder)
    return run, folder


def test_the_first_ratio_is_exactly_1(whole):
    """And the policy is still the reference; later, neither is so."""
    rows = lines(whole[1])
    assert rows[0]["ratio_error"] == 0 and rows[0]["reference_error"] == 0
    assert rows[4]["ratio_error"] == 0  # the first step of the second rollout
    assert rows[1]["ratio_error"] > 0 and rows[4]["reference_error"] > 0
    assert rows[0]["rollout/kl"] == 0 and rows[4]["rollout/kl"] != 0


def test_neither_a_signal_nor_kills_change_a_bit(
    whole, start, prompts, tmp_path, monkeypatch, commands
):
    """A signal waits for the end of a rollout. A kill loses what follows a save."""
    run, folder = whole
    workdir = tmp_path / "w"
    original, asked = feeds.rollouts.Rollouts.metrics, []

    def interrupted(self):
        asked.append(len(asked))
        if len(asked) == 2:
            signal.raise_signal(signal.SIGTERM)
        return original(self)

    with monkeypatch.context() as patch:
        patch.setattr(feeds.rollouts.Rollouts, "metrics", interrupted)
        result = loop.train(run, workdir)
    assert (result.step, result.interrupted) == (4, signal.SIGTERM)
    for where, last in (("rollout", 4), ("save", 8)):
        program = "tests/trainers/rollout_killed.py"
        done = commands(program, start, prompts, workdir, where)
        assert done.code == -signal.SIGKILL, done.out
        assert lines(workdir)[-1]["step"] == last
        saved = [path.name for path in (workdir / "checkpoints").iterdir()]
        assert "00000004" in saved and "00000008" not in saved
    loop.train(run, workdir)
    assert ending(workdir) == ending(folder)


def test_what_is_logged(whole):
    rows = lines(whole[1])
    first = rows[0]
    parts = first["rollout/reward/contains"] + 0.5 * first["rollout/reward/length"]
    endless = first["rollout/missing_end"]
    assert endless > 0
    assert first["rollout/reward"] == pytest.approx(parts - 0.25 * endless)
    assert 0 < first["rollout/length"] <= 6 and first["rollout/entropy"] > 0
    assert all(rows[step]["rollout/decoding_error"] < 1e-5 for step in (0, 4))
    assert first["rollout/kl_coefficient"] == 0.5
    # KL 0 at the first rollout: one step down by 0.2 x 8 answers / 100
    assert rows[4]["rollout/kl_coefficient"] == pytest.approx(0.5 * (1 - 0.2 * 0.08))
    assert "rollout/reward" not in rows[1]  # one line a rollout has it
    held_out = lines(whole[1], "eval")
    assert [row["step"] for row in held_out] == [0, 4, 8]
    assert {"reward", "reward/contains", "length", "missing_end"} <= set(held_out[0])


def test_decoding_and_training_agree_in_bfloat16(start, prompts, float32):
    """The features have 8 bits, and logits of this model reach 3."""
    from trainers import strategy

    strategy.set_precision("bfloat16")
    feed, roles = made(run_of(start, prompts, precision="bfloat16"))
    batch = next(feed.train(0, roles))
    answers = batch["weights"] > 0
    logp = tf.nn.log_softmax(roles["policy"](batch["tokens"]))
    wanted = tf.gather(logp, batch["targets"], batch_dims=2)[answers]
    np.testing.assert_allclose(batch["own_logprobs"][answers], wanted, atol=0.05)
    assert 0 <= float(feed.metrics()["rollout/decoding_error"]) < 0.05


def test_a_batch_has_prompts_answers_and_weights(start, prompts, tokenizer):
    run = run_of(start, prompts, objective={"minibatches": 1, "epochs": 1})
    feed, roles = made(run)
    batch = {k: x.numpy() for k, x in next(feed.train(0, roles)).items()}
    groups = {}
    for row in range(4):
        size, learnt = batch["lengths"][row], batch["weights"][row] > 0
        first = int(np.argmax(learnt))
        text = tokenizer.decode(batch["tokens"][row, : first + 1])
        assert text.startswith("abc") and learnt[first:size].all()
        assert learnt.sum() == size - first <= 6
        answer = batch["targets"][row][learnt].tolist()
        groups.setdefault(text, []).append(answer)
        for name in ("old_logprobs", "reference_logprobs", "advantages"):
            assert not batch[name][row][~learnt].any()
        assert not batch["tokens"][row, size:].any()
    assert sorted(len(group) for group in groups.values()) == [2, 2]
    assert all(group[0] != group[1] for group in groups.values())


def test_every_prompt_is_asked_once_in_a_pass():
    asked = [plan.prompts(3, r, 4, 10) for r in range(5)]
    passes = np.concatenate(asked).reshape(2, 10)
    np.testing.assert_array_equal(np.sort(passes), np.tile(np.arange(10), (2, 1)))
    assert (passes[0] != passes[1]).any()
    orders = [tuple(plan.order(3, r, e, 2, 8)) for r in (0, 1) for e in (0, 1)]
    assert len(set(orders)) == 4 and all(sorted(o) == list(range(8)) for o in orders)
    drawn = [seed for r in range(9) for seed in plan.seeds(3, r, 9)]
    assert len(set(drawn)) == 81


def test_evaluation_is_greedy(start, prompts):
    run = run_of(start, prompts, eval_every=4, best="+reward")
    feed, roles = made(run)
    metrics = feed.evaluate(roles)
    shown = feed.show(roles).split("\n\n")[0]
    prompt = shown[: shown.index("abc")] + shown.split("\n[reward")[0]
    rows = [json.loads(x)["question"] for x in prompts.read_text().splitlines()]
    asked = next(x for x in rows if prompt.startswith(x))
    answer = generate(
        roles["policy"], feed.tokenizer, asked, GenerationConfig(max_new_tokens=6)
    )[0].text
    assert prompt == asked + answer
    assert metrics["reward"] == pytest.approx(
        metrics["reward/contains"] + 0.5 * metrics["reward/length"]
    )


@pytest.mark.long
def test_a_run_of_epochs_ends_with_a_rollout(start, prompts, tmp_path):
    """15 prompts x 2 samples are 15 steps of 2 rows, and a rollout has 4 steps."""
    options = {"minibatches": 4, "epochs": 1, "max_new_tokens": 2}
    fields = {"steps": 0, "epochs": 1, "save_every": 0}
    run = run_of(start, prompts, {"batch": 2}, options, **fields)
    assert feeds.make(run, roles_lib.start(run)).rows == 30
    assert loop.train(run, tmp_path / "w").step == 16


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"steps": 6}, "config.steps: 6, a multiple of 4 allowed"),
        ({"save_every": 2}, "config.save_every: 2, a multiple of 4"),
        ({"eval_every": 3, "best": "+reward"}, "config.eval_every: 3, a multiple of 4"),
        ({"eval_every": 4}, "config.best: 'loss'; one of reward, length"),
        ({"data": {"format": "prompt"}}, "config.data.format: 'prompt'"),
        ({"data": {"too_long": "cut"}}, "config.data.too_long: 'cut'"),
        ({"data": {"fields": ()}}, "no column 'prompt'"),
        ({"objective": {"samples": 3}}, "config.objective.samples: 3, a divisor of"),
        ({"objective": {"max_new_tokens": 65}}, "max_new_tokens: 65, at most 64"),
        ({"objective": {"rewards": ("1 nice",)}}, "unknown 'nice'"),
        ({"objective": {"rewards": ()}}, "rewards"),
    ],
)
def test_what_is_refused(fields, words, start, prompts, tmp_path):
    with pytest.raises(ValueError) as error:
        loop.train(run_of(start, prompts, **fields), tmp_path / "w")
    assert words in str(error.value)
    assert not (tmp_path / "w").exists()


@pytest.mark.long
def test_two_devices_learn_what_one_learns(start, prompts, tmp_path, commands):
    """Answers are sampled once; the Batches are split."""
    done = commands("tests/trainers/rollout_replicas.py", start, prompts, tmp_path)
    assert done.code == 0, done.out
    one, two = json.loads(done.out.splitlines()[-1]).values()
    assert len(one) == len(two) == 4
    for left, right in zip(one, two, strict=True):
        for name in ("loss", "grad_norm", "weight", "ratio", "rollout/reward"):
            if name in left:
                assert left[name] == pytest.approx(right[name], rel=1e-3, abs=1e-5)
    for rows in (one, two):
        assert rows[0]["approx_kl"] == 0 == rows[2]["approx_kl"]
