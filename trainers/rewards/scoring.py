"""The rewards of a run: all parts of the score of samples."""

import collections
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging

from trainers.rewards import registry
from trainers.rewards.pool import Failure, Pool
from trainers.rewards.sample import Sample
from zoo.fields import one_of

ERRORS = ("score", "stop")


class Rewards:
    """Scores samples; `make` builds it.

    A call gives float64 [N, parts], the parts before their weights. The reward of a
    sample is `parts @ weights`.

    Attributes:
      names: of the parts, all different: a name that comes again gets a number.
      weights: float64 [parts].
      failed: how many samples each part failed on, by its name.
    """

    def __init__(self, entries, errors, error_reward, pool, models):
        self.names = tuple(_distinct([entry.name for entry in entries]))
        self.weights = np.array([entry.weight for entry in entries])
        self.failed: collections.Counter[str] = collections.Counter()
        self._errors, self._error_reward = errors, error_reward
        self._pool, self._models = pool, models  # models by the number of their part
        self._texts = [i for i in range(len(entries)) if i not in models]

    def __call__(self, samples: Sequence[Sample]) -> np.ndarray:
        """The parts of the score of each sample, float64 [N, parts].

        Raises:
          ValueError: a reward fails, and `errors` is "stop". The message names the
            reward and the first sample that it fails on.
        """
        parts_NP = np.full((len(samples), len(self.names)), np.nan)
        if self._pool is not None and samples:
            found, failures = self._pool.score(samples, self._errors == "stop")
            for number in sorted(failures):
                for part, reason in failures[number]:
                    failure = Failure(self._texts[part], reason)
                    self._fail(failure, samples[number])
            parts_NP[:, self._texts] = np.array(found, np.float64)
        for part, model in self._models.items():
            parts_NP[:, part] = model(samples)
            for number in np.flatnonzero(~np.isfinite(parts_NP[:, part])).tolist():
                failure = Failure(part, f"returned {parts_NP[number, part]}")
                self._fail(failure, samples[number])
        return np.where(np.isfinite(parts_NP), parts_NP, self._error_reward)

    def check_length(self, tokens: int) -> None:
        """Refuses a model that cannot read so many tokens of prompt and answer.

        Raises:
          ValueError: names the model, the tokens, and its limit.
        """
        for model in self._models.values():
            model.check_length(tokens)

    def close(self) -> None:
        """Ends the worker processes; a second call does nothing."""
        if self._pool is not None:
            self._pool.close()

    def __enter__(self) -> "Rewards":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _fail(self, failure: Failure, sample: Sample) -> None:
        """Stops at a failure, or counts it."""
        name = self.names[failure.part]
        message = f"reward {name!r} {failure.reason}: {sample.shown()}."
        if self._errors == "stop":
            raise ValueError(message)
        if not self.failed[name]:
            logging.warning("%s It scores %s.", message, self._error_reward)
        self.failed[name] += 1


def make(
    entries: Sequence[str],
    timeout: float = 10.0,
    errors: str = "stop",
    error_reward: float = 0.0,
    tokenizer: Any = None,
) -> Rewards:
    """Makes the rewards of entries, and starts their workers.

    Args:
      entries: "WEIGHT NAME" or "WEIGHT NAME:ARGUMENT", such as "1 number_after:####",
        "0.2 json_valid" or "1 model:DIR".
      timeout: seconds that the functions of one answer may take together; above 0.
      errors: what happens where a function raises, takes too long, or returns no
        finite number: "stop" raises a ValueError, "score" gives the part the score
        `error_reward`, and counts it. A function that takes too long leaves the parts
        behind it unknown, and they get the same score.
      error_reward: see `errors`; it stands before the weight of the part.
      tokenizer: the `Tokenizer` of the tokens in samples; only "model:DIR" needs it.

    Raises:
      ValueError: an entry has another form, its reward is unknown, its argument is
        wrong, or its module or model cannot be read.
    """
    parsed = registry.parse(entries)
    one_of("reward_errors", errors, ERRORS)
    if not timeout > 0:
        raise ValueError(f"reward_timeout: {timeout}, above 0 allowed.")
    for entry in parsed:
        if errors == "score" and entry.weight < 0 and error_reward < 0:
            raise ValueError(
                f"error_reward: {error_reward}, 0 or above allowed beside the weight "
                f"{entry.weight:g} of {entry.name}: a failure would be paid for."
            )
    texts = [entry for entry in parsed if entry.name != registry.MODEL]
    pool = None
    if texts:
        setup = {
            "modules": registry.modules(texts),
            "entries": [(entry.name, entry.argument) for entry in texts],
            "timeout": timeout,
        }
        pool = Pool(setup, timeout)
        if pool.tensorflow:
            logging.warning(
                "rewards: %s import TensorFlow, so each worker starts slowly and is "
                "large; put your functions into a module of their own.",
                ", ".join(file for _, file in setup["modules"]),
            )
    try:
        models = _models(parsed, tokenizer)
    except BaseException:
        if pool is not None:
            pool.close()
        raise
    return Rewards(parsed, errors, error_reward, pool, models)


def _models(entries, tokenizer) -> dict[int, Any]:
    """The models by the number of their part."""
    found = {}
    for number, entry in enumerate(entries):
        if entry.name == registry.MODEL:
            # TensorFlow is imported where a model is asked for: workers import us too
            from trainers.rewards.model import ModelReward

            found[number] = ModelReward(entry.argument, tokenizer)
    return found


def _distinct(names: list[str]) -> list[str]:
    """The names; one that comes again gets a number."""
    counts: collections.Counter[str] = collections.Counter()
    found = []
    for name in names:
        counts[name] += 1
        found.append(name if counts[name] == 1 else f"{name}_{counts[name]}")
    return found
