"""Rollouts that ask more prompts where the answers to a prompt have equal rewards."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tabular_lm import Config, tabular_lm, word_tokenizer  # noqa: F401

from trainers import feeds
from trainers import roles as roles_lib
from trainers.objectives import GRPO
from trainers.rewards.sample import Sample
from trainers.rollouts import plan, rounds
from trainers.rollouts.sampling import Answers
from trainers.run import Data, Run

SAMPLES, GROUPS, MOST = 2, 3, 3


def asked(rewards, calls):
    """Answers whose only token is the number of the answer."""

    def ask(number):
        calls.append(number)
        rewards_N = np.repeat(np.array(rewards[number], float), SAMPLES)
        rewards_N[::SAMPLES] = 0  # groups of 0 have no variance
        names = range(number * len(rewards_N), (number + 1) * len(rewards_N))
        samples = [Sample("", "", [0, name], True, {}, 1) for name in names]
        logprobs = np.array(names)[:, None]
        answers = Answers(samples, np.array(names) % 3 == 0, logprobs)
        return rounds.Scored(answers, rewards_N, {"part": np.array(names)})

    return ask


@pytest.mark.parametrize(
    "rewards, groups, used",
    [
        ([[1, 1, 1]], [0, 1, 2], 1),
        ([[1, 0, 0], [0, 1, 1]], [0, 4, 5], 2),
        ([[0, 1, 0], [1, 1, 1]], [1, 3, 4], 2),  # the first ones, and no more
        ([[0, 0, 1], [0, 0, 0], [0, 1, 0]], [0, 2, 7], 3),  # 0 takes a free place
        ([[0, 0, 0], [0, 0, 0], [0, 0, 0]], [0, 1, 2], 3),
    ],
)
def test_what_is_learnt(rewards, groups, used):
    calls = []
    found = rounds.until_full(asked(rewards, calls), SAMPLES, MOST)
    assert found.rounds == used and calls == list(range(used))
    wanted = [group * SAMPLES + i for group in groups for i in range(SAMPLES)]
    answers, rewards_N, parts = found.learnt
    assert [sample.tokens[1] for sample in answers.samples] == wanted
    np.testing.assert_array_equal(answers.logprobs[:, 0], wanted)
    np.testing.assert_array_equal(answers.ended, np.array(wanted) % 3 == 0)
    np.testing.assert_array_equal(parts["part"], wanted)
    flat = np.ravel(rewards)
    np.testing.assert_array_equal(rewards_N[1::SAMPLES], flat[groups])
    assert len(found.every.rewards) == used * GROUPS * SAMPLES


def test_later_rounds_have_prompts_and_seeds_of_their_own():
    places = [(r, i) for r in range(5) for i in (1, 2)]
    later = [plan.more_prompts(3, r, i, 3, 2, 10) for r, i in places]
    passes = np.concatenate(later).reshape(2, 10)  # all prompts, and again
    np.testing.assert_array_equal(np.sort(passes), np.tile(np.arange(10), (2, 1)))
    first = np.concatenate([plan.prompts(3, r, 2, 10) for r in range(5)])
    assert (passes[0] != first).any() and (passes[0] != passes[1]).any()
    seeds = [s for r in range(4) for i in range(3) for s in plan.seeds(3, r, 5, i)]
    assert len(set(seeds)) == 60


@pytest.mark.usefixtures("tabular_lm")
def test_a_rollout_depends_on_its_number_alone(tmp_path):
    """And has only groups that teach, unless the rounds were too few."""
    words = "ask ba ce di fo gu hy".split()
    word_tokenizer(words).save(str(tmp_path / "tokenizer"))
    rows = [{"prompt": "ask", "word": "ba" if i % 3 else "no"} for i in range(12)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    groups, samples = 2, 4
    run = Run(
        model=Config(vocab_size=8, context=3),
        objective=GRPO(
            samples=samples,
            max_new_tokens=1,
            rewards=("1 exact_answer:word",),
            dynamic_sampling=True,
            max_rounds=MOST,
        ),
        data=Data(
            source=f"jsonl:{tmp_path}/prompts.jsonl",
            format="prompts",
            tokenizer=str(tmp_path / "tokenizer"),
            batch=groups * samples,
            hold_out=0.0,
        ),
        steps=8,
    )
    start = roles_lib.start(run)
    tf.keras.utils.set_random_seed(0)
    roles = roles_lib.make(run, start)

    def batches(first, count):
        feed = feeds.make(run, start)
        try:
            found = zip(range(count), feed.train(first, roles), strict=False)
            return [
                ({k: x.numpy() for k, x in batch.items()}, feed.metrics())
                for _, batch in found
            ]
        finally:
            feed.close()

    whole, resumed = batches(0, 8), batches(6, 2)
    for (batch, measured), (again, measured_again) in zip(
        whole[6:], resumed, strict=True
    ):
        for name in batch:
            np.testing.assert_array_equal(batch[name], again[name])
        rounds_used = "rollout/rounds"
        assert float(measured[rounds_used]) == float(measured_again[rounds_used])
    seen = []
    for batch, measured in whole:
        used = float(measured["rollout/rounds"])
        equal = float(measured["rollout/groups_without_variance"])
        differing = round(used * groups * (1 - equal))
        teaching = batch["weights"].any(1).sum()
        assert teaching == min(differing, groups) * samples
        assert (batch["advantages"].any(1) == batch["weights"].any(1)).all()
        assert used == MOST or differing >= groups
        seen.append((used, teaching))
    assert {1, 3} <= {used for used, _ in seen}
