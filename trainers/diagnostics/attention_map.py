"""A picture of the attention from an answer to its source.

Source: Bahdanau et al. 2014 (arXiv:1409.0473, figure 3).
"""

import pathlib
from typing import Any, NamedTuple

import numpy as np

from zoo import directory
from zoo.data import formats
from zoo.decode import generate
from zoo.text.tokenizer import Tokenizer

_MOST = 64  # tokens of an answer; more labels could not be read


class Map(NamedTuple):
    """What an answer saw of its source.

    Attributes:
      source: the texts of the S tokens of the source.
      answer: the texts of the T tokens of the greedy answer.
      weights: float [T, S]: the mean over the heads of the decoder's last layer.
    """

    source: list[str]
    answer: list[str]
    weights: np.ndarray


def of(model_directory: str, text: str) -> Map:
    """The attention of the greedy answer to a source.

    Args:
      model_directory: of an encoder-decoder.
      text: the source.

    Raises:
      ValueError: the model has no attention to a source, or no tokenizer; or the text
        is empty or too long.
    """
    loaded = directory.load(model_directory)
    model: Any = loaded.model
    if not hasattr(model, "cross_attention") or loaded.tokenizer is None:
        raise ValueError(
            f"--model: {model_directory}: an encoder-decoder Transformer with a "
            "tokenizer allowed."
        )
    tokenizer = loaded.tokenizer
    source_tokenizer = getattr(loaded, "source_tokenizer", None) or tokenizer
    sides = formats.seq2seq.sides(model.config, source_tokenizer, tokenizer)
    ids = source_tokenizer.encode(text)
    most = formats.seq2seq.limits(model.config)[0]
    if not 1 <= len(ids) <= most - sides.frame.size:
        raise ValueError(
            f"--attention: a text of {len(ids)} tokens, 1 to "
            f"{most - sides.frame.size} allowed."
        )
    source = sides.frame.around(ids)
    room = min(model.target_limit or _MOST, _MOST)
    knobs = directory.GenerationConfig(max_new_tokens=room)
    answer = generate(model, tokenizer, [source], knobs)[0].tokens
    read = np.array([[model.config.start_id, *answer[:-1]]], np.int32)
    found = model.cross_attention(
        np.array([source], np.int32), np.array([len(source)], np.int32), read
    )
    weights = np.array(found[-1, 0], np.float32).mean(0)
    return Map(_names(source_tokenizer, source), _names(tokenizer, answer), weights)


def draw(model_directory: str, text: str, output: pathlib.Path) -> None:
    """Writes the picture of `of`; the arguments are its own, and a .png or .svg."""
    found = of(model_directory, text)
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    sizes = [2 + 0.28 * len(x) for x in (found.source, found.answer)]
    figure, axes = plt.subplots(figsize=sizes, layout="constrained")
    image = axes.imshow(found.weights, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(found.source)), found.source, rotation=90)
    axes.set_yticks(range(len(found.answer)), found.answer)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)  # a text may have dollars
    axes.set(xlabel="source", ylabel="answer")
    figure.colorbar(image, label="attention")
    figure.savefig(output, dpi=110)


def _names(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    """The text of each token, or the name of one that has none."""
    names = [tokenizer.decode([i], continuing=True) for i in ids]
    ends = set(tokenizer.end_ids)
    names = [name.strip() if name.isprintable() else "" for name in names]
    return [
        name or ("<end>" if i in ends else f"<{i}>")
        for name, i in zip(names, ids, strict=True)
    ]
