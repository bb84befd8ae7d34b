"""Problems whose optimum can be computed, and the trainers' parts put together on them.

A policy is a table (`tabular_lm`). The reward is a function of the answer's tokens. So
the best policy under a divergence from the start can be computed, and compared with
what an objective reaches in rollouts, advantages and steps.
"""

import itertools
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers import optimizers
from trainers import roles as roles_lib
from trainers.objectives.features import features
from trainers.objectives.logprobs import logprobs
from trainers.objectives.sampled import sampled_logprobs
from trainers.run import Data, Optimizer, Run
from trainers.step import make_step
from zoo.decode import loop, sampling
from zoo.generation_config import GenerationConfig

PROMPT = 0


class Problem(NamedTuple):
    """Answers to one prompt of one token, and what they are worth.

    Attributes:
      config: the Config of the policy.
      length: the most tokens of an answer.
      rewards: answer, a tuple of tokens, to reward.
      end: the tokens that end an answer.
      prompt: the token that is the prompt.
    """

    config: object
    length: int
    rewards: dict
    end: tuple = ()
    prompt: int = PROMPT


def bandit(config, rewards):
    """Answers of one token."""
    return Problem(config, 1, {(v,): float(r) for v, r in enumerate(rewards)})


def tree(config, length, end=(), seed=1):
    """All answers of a length, or that end before it, with rewards N(0, 0.7)."""
    rng = np.random.default_rng(seed)
    answers = [
        answer
        for n in range(1, length + 1)
        for answer in itertools.product(range(config.vocab_size), repeat=n)
        if not set(answer[:-1]) & set(end) and (n == length or answer[-1] in end)
    ]
    return Problem(config, length, {a: rng.normal(0, 0.7) for a in answers}, end)


# ---- what is known ----


def probabilities(model, problem, temperature=1.0):
    """Answer to its probability."""
    log_p = {}

    def of(prefix):
        if prefix not in log_p:
            logits = model(tf.constant([[problem.prompt, *prefix]]))[0, -1]
            log_p[prefix] = tf.nn.log_softmax(logits / temperature).numpy()
        return log_p[prefix]

    return {
        answer: float(np.exp(sum(of(answer[:i])[v] for i, v in enumerate(answer))))
        for answer in problem.rewards
    }


def gibbs(reference, problem, beta):
    """The best policy under reverse KL, and the value beta log Z of the prompt."""
    weights = {a: reference[a] * np.exp(problem.rewards[a] / beta) for a in reference}
    total = sum(weights.values())
    return {a: w / total for a, w in weights.items()}, beta * np.log(total)


def forward_optimum(reference, problem, beta):
    """The best policy under KL(reference, policy): beta * reference / (level - r)."""
    r = np.array([problem.rewards[a] for a in reference])
    p = np.array(list(reference.values()))
    low, high = r.max(), r.max() + beta
    for _ in range(200):
        level = (low + high) / 2
        above = np.sum(beta * p / np.maximum(level - r, 1e-300)) > 1
        low, high = (level, high) if above else (low, level)
    return dict(zip(reference, beta * p / (level - r), strict=True))


def worth(policy, reference, problem, beta, kind="reverse"):
    """The mean reward less beta times the divergence, which an optimum has the most."""
    reward = sum(p * problem.rewards[a] for a, p in policy.items())
    over, under = (policy, reference) if kind == "reverse" else (reference, policy)
    apart = sum(p * np.log(p / under[a]) for a, p in over.items() if p > 0)
    return float(reward - beta * apart)


def distance(left, right):
    """The total variation of two distributions of answers."""
    return sum(abs(left[a] - right[a]) for a in left) / 2


# ---- rollouts and steps ----


class Learner:
    """An objective with its roles, optimizer and step, as the loop makes them.

    Args:
      objective: of rollouts.
      problem: what its answers are worth.
      answers: of one rollout; each of `objective.minibatches` has an equal part.
      rollouts: how many there will be, for the schedule.
      lr: falls to a fiftieth by a cosine.
      seed: of weights and answers.
    """

    def __init__(self, objective, problem, answers, rollouts, lr=0.05, seed=0):
        keras.utils.set_random_seed(seed)
        self.objective, self.problem, self.seed = objective, problem, seed
        self.answers, self.rollouts = answers, rollouts
        batch = answers // objective.minibatches
        self.batch = batch
        run = Run(
            model=problem.config,
            objective=objective,
            data=Data(batch=batch),
            optimizer=Optimizer(
                name="adam", lr=lr, final=0.02, beta_2=0.999, epsilon=1e-5
            ),
            steps=rollouts * objective.period,
        )
        self.roles = roles_lib.make(run, roles_lib.Start(run.model))
        self.variables = roles_lib.learning(run, self.roles)
        optimizer = optimizers.build(run.optimizer, run.steps, self.variables)
        strategy = tf.distribute.get_strategy()
        self.step = make_step(
            strategy, self.roles, objective, optimizer, self.variables
        )
        self.rollout = tf.function(self._rollout, autograph=False)
        self.reference = probabilities(self.roles["policy"], problem)
        self._coefficient = getattr(objective, "kl_coefficient", 0.0)

    def learn(self):
        """Does all rollouts; returns the probabilities of the answers."""
        order = np.random.default_rng(self.seed)
        for number in range(self.rollouts):
            batch = self.batch_of(number)
            for _ in range(self.objective.epochs):
                rows = np.split(
                    order.permutation(self.answers), self.objective.minibatches
                )
                for part in rows:
                    self.metrics = self.step(
                        {k: tf.gather(x, part) for k, x in batch.items()}
                    )
        return probabilities(self.roles["policy"], self.problem)

    def batch_of(self, number):
        """The Batch of a whole rollout."""
        return self.rollout(tf.constant(number, tf.int64), self._coefficient)

    def _rollout(self, number, coefficient):
        policy, objective, problem = self.roles["policy"], self.objective, self.problem
        N, samples = self.answers, objective.samples
        generation = GenerationConfig(
            max_new_tokens=problem.length,
            temperature=objective.temperature,
            top_k=objective.top_k,
            top_p=objective.top_p,
        )
        seeds_N = number * N + tf.range(N, dtype=tf.int64) + 10**6 * self.seed
        knobs = sampling.Knobs.filled(generation, N)._replace(seed=seeds_N)
        out = loop.decode(
            policy,
            tf.fill((N // samples, 1), PROMPT),
            tf.ones(N // samples, tf.int32),
            knobs,
            problem.end,
            new_tokens=problem.length,
            samples=samples,
        )
        batch = as_batch(out.tokens, out.num_tokens)
        batch |= score(objective, self.roles, batch)
        ended_N = out.stopped if problem.end else tf.ones(N, tf.bool)
        rewards_N = self._rewards(out.tokens, out.num_tokens)
        rollout = {"rewards": rewards_N, "ended": ended_N, **batch}
        rollout["kl_coefficient"] = tf.cast(coefficient, tf.float32)
        return batch | objective.advantages(rollout)

    def _rewards(self, tokens_NA, counts_N):
        """Looks the answers up."""
        base = self.problem.config.vocab_size + 1  # 0 is no token
        used_NA = tf.range(tokens_NA.shape[1])[None] < counts_N[:, None]
        places = base ** np.arange(tokens_NA.shape[1], dtype=np.int32)
        code_N = tf.reduce_sum(tf.where(used_NA, (tokens_NA + 1) * places, 0), -1)
        table = np.zeros(base**self.problem.length, np.float32)
        for answer, reward in self.problem.rewards.items():
            table[sum((v + 1) * base**i for i, v in enumerate(answer))] = reward
        return tf.gather(table, code_N)


def as_batch(answers_NA, counts_N):
    """Tokens, targets and weights of answers to the prompt."""
    used_NA = tf.range(tf.shape(answers_NA)[1])[None] < counts_N[:, None]
    prompt_N1 = tf.fill((tf.shape(answers_NA)[0], 1), PROMPT)
    return {
        "tokens": tf.concat([prompt_N1, answers_NA[:, :-1]], 1),
        "targets": answers_NA,
        "lengths": counts_N,
        "weights": tf.cast(used_NA, tf.float32),
    }


def score(objective, roles, batch):
    """What a rollout stores of its answers, by the functions of the trainers."""
    policy, mask_NT = roles["policy"], batch["weights"]
    x_ND = features(policy, batch, True)
    old_NT = sampled_logprobs(policy, x_ND, batch["targets"], objective)[0]
    found = {"old_logprobs": old_NT, "own_logprobs": logprobs(policy, batch, True)[0]}
    if "reference" in roles:
        found["reference_logprobs"] = logprobs(roles["reference"], batch, True)[0]
    if hasattr(objective, "values"):
        found["old_values"] = objective.values(roles, batch, True)
    return {name: x_NT * mask_NT for name, x_NT in found.items()}


def uniforms_at_once(seed_B, count):
    """The uniform numbers of all rows in one operation: thousands of rows are slow."""
    key = tf.stack([seed_B[0], tf.constant(0, tf.int64)])
    return tf.random.stateless_uniform([tf.size(seed_B), count], key)


@pytest.fixture
def quick_uniforms(monkeypatch):
    """Draws by `uniforms_at_once`."""
    monkeypatch.setattr(sampling, "uniforms", uniforms_at_once)
