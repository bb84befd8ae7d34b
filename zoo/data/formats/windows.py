"""The format of masked language models: documents, cut into framed windows."""

from collections.abc import Sequence

import numpy as np

from zoo.text.framing import Frame
from zoo.text.tokenizer import Tokenizer


def windows(
    documents: Sequence[str],
    tokenizer: Tokenizer,
    frame: Frame,
    length: int,
    least: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts documents into windows, each with the frame around it.

    A window holds tokens of one document. Those of a document are as long as fits, but
    for its last.

    Args:
      documents: texts; those without tokens give no window.
      tokenizer: of the model.
      frame: the tokens that stand around a text.
      length: the most tokens of a window, with the frame.
      least: the fewest tokens of a window, without the frame; others are left out.

    Returns:
      tokens int32 [N], and starts int64 [R + 1]: window i is
      `tokens[starts[i] : starts[i + 1]]`.

    Raises:
      ValueError: there is no window, or no room for one in a window.
    """
    room = length - frame.size
    if room < 1:
        raise ValueError(
            f"config.data.length: {length}, at least {frame.size + 1} allowed: "
            f"{frame.size} tokens stand around each window."
        )
    parts, lengths = [], [0]
    for ids in tokenizer.encode_batch(documents):
        for first in range(0, len(ids), room):
            if len(ids) - first < least:
                break
            window = frame.around(ids[first : first + room])
            parts.append(np.array(window, np.int32))
            lengths.append(len(window))
    if not parts:
        few = f" of {least} tokens" if least > 1 else ""
        raise ValueError(f"There is no document{few} to learn from.")
    return np.concatenate(parts), np.cumsum(lengths, dtype=np.int64)
