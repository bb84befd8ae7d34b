"""Sources with targets, for encoder-decoders: translation, summarization.

An example is a group of two rows. An example with a tokenizer that adds </s>, and a
model whose decoder begins with <pad>:

    source row   a  house  </s>
    target row   <pad>  ein  Haus  </s>

The decoder reads the target row without its last token, and predicts the row without
its first. A source that is cut keeps what stands behind its text; a target that is cut
has no end, so that no model learns to stop in the middle.
"""

from typing import Any, NamedTuple

from zoo.data.formats import rows
from zoo.text import framing
from zoo.text.framing import Frame
from zoo.text.tokenizer import Tokenizer

_UNLIMITED = 1024  # tokens of a side by default, where the model has no limit


class Sides(NamedTuple):
    """What makes rows of a source and a target.

    Attributes:
      source: the tokenizer of sources.
      target: the tokenizer of targets, with an end token.
      frame: what stands around a source.
      target_frame: what the tokenizer puts around a target; BART's begins with <s>.
      start_id: the token that the decoder reads first.
      prefix: a text before each source, such as T5's "summarize: ".
    """

    source: Tokenizer
    target: Tokenizer
    frame: Frame
    target_frame: Frame
    start_id: int
    prefix: str = ""


def sides(config: Any, source: Tokenizer, target: Tokenizer, prefix: str = "") -> Sides:
    """The `Sides` of a model.

    Args:
      config: of the model.
      source: the tokenizer of sources.
      target: that of targets.
      prefix: as in `Sides`.

    Raises:
      ValueError: a tokenizer has no end token, or does more to a text than to put
        tokens around it.
    """
    for side, tokenizer in (("source", source), ("target", target)):
        if tokenizer.end_id is None:
            raise ValueError(
                f"tokenizer of the {side}: no token ends a text, and an "
                "encoder-decoder needs one; name it as eos_token."
            )
    of_source, of_target = (
        framing.frame(tokenizer, config) for tokenizer in (source, target)
    )
    return Sides(source, target, of_source, of_target, config.start_id, prefix)


def limits(config: Any, length: int = 0) -> tuple[int, int]:
    """The most tokens of a source, and the most that the decoder reads of a target.

    Args:
      config: of the model; without a limit of its own, 1,024 tokens are allowed.
      length: the most of both sides that a user wants; 0 is any number.
    """
    source, target = (
        min(limit, length or limit) if limit else length or _UNLIMITED
        for limit in (config.source_limit, config.context)
    )
    return source, target


def sources(made: rows.Rows) -> list[list[int]]:
    """The tokens of each source, as the encoder reads them."""
    bounds = zip(made.starts[:-1:2], made.starts[1::2], strict=True)
    return [made.tokens[first:last].tolist() for first, last in bounds]


def _row(values: dict[str, Any], given: Sides) -> list[rows.Row]:
    """The rows of a source and its target.

    Raises:
      ValueError: a text is empty.
    """
    texts = [rows.text_of(values, field) for field in ("source", "target")]
    source, target = given.source.encode(given.prefix + texts[0]), texts[1]
    for field, text in zip(("source", "target"), texts, strict=True):
        if not text.strip():
            raise ValueError(f"{field}: the text is empty.")
    if not source:
        raise ValueError("source: the text has no tokens.")
    source = given.frame.around(source)
    target = given.target_frame.around(given.target.encode(target))
    if target[-1] not in given.target.end_ids:
        target.append(given.target.end_ids[0])
    kept = len(given.frame.after)
    return [
        rows.Row(source, [1.0] * len(source), kept=kept),
        rows.Row([given.start_id, *target], [0.0] + [1.0] * len(target)),
    ]


FORMAT = rows.Format({"source": "source", "target": "target"}, _row, makes="seq2seq")
