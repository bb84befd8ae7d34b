"""Makes the Batches of objectives whose examples the model samples itself.

prompts -> answers -> rewards -> log-probabilities and values -> advantages
        -> for each epoch an order of the rows -> Batches
"""

import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainers import rewards as rewards_lib
from trainers.objectives.loss import Mean
from trainers.rollouts import batching, plan, rounds
from trainers.rollouts.prompts import Prompt
from trainers.rollouts.sampling import Answers, Sampler
from trainers.rollouts.scoring import Scorer
from trainers.run import Run
from zoo.generation_config import GenerationConfig
from zoo.text.tokenizer import Tokenizer

_NOT_LEARNT = ("ended", "entropy", "rewards")  # what no loss reads


class Rollouts:
    """The rollouts of a run.

    Args:
      run: its objective has `rollout_options.RolloutOptions`, `advantages` and
        `kl_coefficient`, and may have `values`, `kl_target` and `kl_horizon`.
      tokenizer: of the model.
      prompts: of training.
      longest: the most inputs of a row.
      part_rows: the rows that one device trains on at once.

    Attributes:
      kl_coefficient: a Keras variable, which changes where the objective has a
        `kl_target`.

    Raises:
      ValueError: an entry of the objective's rewards is wrong, or a reward model
        cannot read the longest answer.
    """

    def __init__(
        self,
        run: Run,
        tokenizer: Tokenizer,
        prompts: Sequence[Prompt],
        longest: int,
        part_rows: int,
    ):
        objective = self._objective = run.objective
        self._seed, self._batch, self._prompts = run.seed, run.data.batch, prompts
        self._tokenizer, self._longest = tokenizer, longest
        self._part_rows = part_rows
        self._rows = run.data.batch * objective.minibatches
        self._rewards = rewards_lib.make(
            objective.rewards,
            objective.reward_timeout,
            objective.reward_errors,
            objective.error_reward,
            tokenizer,
        )
        try:
            self._rewards.check_length(longest + 1)  # the last token is no input
        except BaseException:
            self.close()
            raise
        self.kl_coefficient = keras.Variable(
            objective.kl_coefficient,
            dtype="float32",
            trainable=False,
            name="kl_coefficient",
        )
        self._measured: dict[str, Mean] = {}
        self._greedy: Sampler | None = None

        @tf.function(autograph=False)
        def advantages(rollout):
            return objective.advantages(rollout)

        self._advantages = advantages

    def batches(self, number: int, roles: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The endless Batches from a number on, which begins a rollout.

        A Batch has what `batching.tensors` and `Scorer` give but `ended` and `entropy`,
        and what the objective's `advantages` gives, all [B, ...].

        Raises:
          ValueError: the number is not the first of a rollout, or a reward fails.
        """
        o = self._objective
        if number % o.period:
            raise ValueError(
                f"batch {number} is in the middle of a rollout; a multiple of "
                f"{o.period} allowed."
            )
        generation = GenerationConfig(
            max_new_tokens=o.max_new_tokens,
            temperature=o.temperature,
            top_k=min(o.top_k, self._tokenizer.vocab_size),
            top_p=o.top_p,
        )
        policy = roles[o.trains[0]]
        sampler = Sampler(policy, self._tokenizer, generation, o.samples)
        scorer = Scorer(roles, o, self._part_rows)
        for rollout in itertools.count(number // o.period):
            made = self._rollout(rollout, sampler, scorer)
            for epoch in range(o.epochs):
                order_N = self._order(rollout, epoch)
                for part in np.split(order_N, o.minibatches):
                    yield {name: tf.constant(x[part]) for name, x in made.items()}

    def metrics(self) -> dict[str, Mean]:
        """What the newest rollout measured; {} if it was asked before.

        `rollout/reward` is the mean, `rollout/reward_std` the deviation over all
        answers, `rollout/reward/NAME` the mean of each part before its weight; `length`
        the tokens of an answer with its end; `missing_end` the share of answers without
        an end, `groups_without_variance` that of prompts whose answers have equal
        rewards; `rounds` how often it sampled, if it may more than once. All these are
        of all rounds. Of the answers that are learnt are `kl`, the sum over an answer
        of log policy - log reference; `entropy`, in nats a token; `decoding_error`, the
        mean difference of the log-probabilities of decoding and of training; and
        `*_seconds` is the time of a rollout's parts.
        """
        measured, self._measured = self._measured, {}
        return measured

    def answers_of(self, model: Any, prompts: Sequence[Prompt]) -> Iterator[Answers]:
        """The greedy answer to each prompt, as many at once as a rollout has."""
        if self._greedy is None:  # every evaluation has the same model
            limit = self._objective.max_new_tokens
            generation = GenerationConfig(max_new_tokens=limit)
            self._greedy = Sampler(model, self._tokenizer, generation, 1)
        for first in range(0, len(prompts), self._rows):
            part = prompts[first : first + self._rows]
            yield self._greedy(part, np.zeros(len(part), np.int64))

    def score(self, answers: Answers) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The reward of each answer, float64 [N], and its parts by name.

        Raises:
          ValueError: a reward fails.
        """
        parts_NP = self._rewards(answers.samples)
        missing_N = self._objective.missing_end * ~answers.ended
        named = dict(zip(self.part_names, parts_NP.T, strict=True))
        return parts_NP @ self._rewards.weights + missing_N, named

    def close(self) -> None:
        """Ends the worker processes of the rewards."""
        self._rewards.close()

    @property
    def part_names(self) -> tuple[str, ...]:
        """The names of the parts of the reward, `reward/NAME`."""
        return tuple(f"reward/{name}" for name in self._rewards.names)

    def _order(self, rollout, epoch):
        """The order in which an epoch learns the rows."""
        return plan.order(
            self._seed, rollout, epoch, self._objective.epochs, self._rows
        )

    def _rollout(self, number, sampler, scorer) -> dict[str, np.ndarray]:
        """All rows of one rollout, [N, ...]."""
        o, rows = self._objective, self._rows
        spent = dict.fromkeys(("sampling", "reward", "scoring"), 0.0)

        def ask(round):
            asked = self._asked(number, round)
            with _timed(spent, "sampling"):
                answers = sampler(asked, plan.seeds(self._seed, number, rows, round))
            with _timed(spent, "reward"):
                rewards_N, parts = self.score(answers)
            return rounds.Scored(answers, rewards_N, parts)

        sampled = rounds.until_full(ask, o.samples, o.rounds)
        answers, rewards_N, _ = sampled.learnt
        made = batching.tensors(answers, self._longest)
        with _timed(spent, "scoring"):
            made |= scorer(made, self._order(number, 0))
        made["rewards"] = rewards_N.astype(np.float32)
        coefficient = float(self.kl_coefficient.value)
        found = self._advantages(
            {**made, "kl_coefficient": tf.constant(coefficient, tf.float32)}
        )
        self._measure(sampled, made, spent)
        made |= {name: x.numpy() for name, x in found.items()}
        target = getattr(o, "kl_target", 0.0)
        if "reference_logprobs" in made and target:
            share = rows / o.kl_horizon
            adapted = adapted_coefficient(coefficient, _kl(made), target, share)
            self.kl_coefficient.assign(adapted)
        return {k: x for k, x in made.items() if k not in _NOT_LEARNT}

    def _asked(self, number, round) -> list[Prompt]:
        """The prompts of a round of a rollout."""
        o, total = self._objective, len(self._prompts)
        count = self._rows // o.samples
        if round:
            asked = plan.more_prompts(self._seed, number, round, o.rounds, count, total)
        else:
            asked = plan.prompts(self._seed, number, count, total)
        return [self._prompts[i] for i in asked]

    def _measure(self, sampled, made, spent) -> None:
        """Keeps the metrics of a rollout until `metrics` is asked."""
        o, weights = self._objective, made["weights"]
        answers, rewards_N, parts = sampled.every
        count = weights.sum()
        learnt = sampled.learnt.answers
        decoded = batching.placed(learnt.logprobs, learnt, weights.shape[1])
        means = {
            "reward": rewards_N.mean(),
            "reward_std": rewards_N.std(),
            **{name: values.mean() for name, values in parts.items()},
            "length": np.mean([len(s.tokens) - s.start for s in answers.samples]),
            "missing_end": 1 - answers.ended.mean(),
            "entropy": made["entropy"].sum() / count,
            "decoding_error": np.abs(decoded - made["own_logprobs"]).sum() / count,
            **{f"{name}_seconds": seconds for name, seconds in spent.items()},
        }
        if o.samples > 1:
            differing = rounds.differing(rewards_N, o.samples)
            means["groups_without_variance"] = 1 - differing.mean()
        if o.rounds > 1:
            means["rounds"] = sampled.rounds
        if "reference_logprobs" in made:
            means["kl"] = _kl(made)
            means["kl_coefficient"] = self.kl_coefficient.value
        self._measured = {
            f"rollout/{name}": Mean(float(value), 1.0) for name, value in means.items()
        }


@contextlib.contextmanager
def _timed(spent, name) -> Iterator[None]:
    """Adds the seconds of the block."""
    began = time.perf_counter()
    yield
    spent[name] += time.perf_counter() - began


def adapted_coefficient(
    coefficient: float, kl: float, target: float, share: float
) -> float:
    """The coefficient after a rollout; see Ziegler et al. 2019, arXiv:1909.08593.

    Args:
      coefficient: in the rollout.
      kl: the divergence that the rollout measured, in nats.
      target: of the divergence; above 0.
      share: the answers of the rollout by the horizon; it scales the change.
    """
    return coefficient * (1 + float(np.clip(kl / target - 1, -0.2, 0.2)) * share)


def _kl(made) -> float:
    """The mean over answers of the sum of log policy - log reference."""
    ratio = made["own_logprobs"].astype(np.float64) - made["reference_logprobs"]
    return float(ratio.sum() / len(ratio))
