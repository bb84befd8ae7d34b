"""Puts prompts and answers into the tensors that objectives of rollouts read."""

import numpy as np

from trainers.rollouts.sampling import Answers
from zoo.data import batches


def tensors(answers: Answers, longest: int) -> dict[str, np.ndarray]:
    """Right-padded rows of prompts with their answers.

    Args:
      answers: N of them.
      longest: the most inputs that a row may have.

    Returns:
      `tokens`, `targets` int32 [N, T]; `lengths` int32 [N]; `weights` float32 [N, T], 1
      where the target is a token of the answer; `ended` bool [N]. T is the smallest
      bucket that holds the longest row, so that few shapes are compiled.
    """
    samples = answers.samples
    sizes = [len(sample.tokens) - 1 for sample in samples]
    width = min(batches.bucket(max(sizes)), longest)
    shape = (len(samples), width)
    tokens, targets = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    for row, sample in enumerate(samples):
        tokens[row, : sizes[row]] = sample.tokens[:-1]
        targets[row, : sizes[row]] = sample.tokens[1:]
    return {
        "tokens": tokens,
        "targets": targets,
        "lengths": np.array(sizes, np.int32),
        "weights": placed(np.ones_like(answers.logprobs), answers, width),
        "ended": answers.ended,
    }


def placed(values_NA: np.ndarray, answers: Answers, width: int) -> np.ndarray:
    """Numbers of each token of the answers, where these tokens are targets.

    Returns:
      float32 [N, width], 0 off the answers.
    """
    out = np.zeros((len(values_NA), width), np.float32)
    for row, sample in enumerate(answers.samples):
        first, last = sample.start - 1, len(sample.tokens) - 1
        out[row, first:last] = values_NA[row, : last - first]
    return out
