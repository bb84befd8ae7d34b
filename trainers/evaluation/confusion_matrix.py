"""The picture of a confusion matrix."""

import io

import numpy as np

_MOST = 40  # classes; more would not be readable


def draw(counts_CC: np.ndarray, names) -> bytes:
    """A PNG of how often each class got each answer; b"" of more than 40 classes.

    Args:
      counts_CC: a row is a right class, a column an answered one.
      names: of the classes.
    """
    if len(counts_CC) > _MOST:
        return b""
    from matplotlib.figure import Figure  # takes long, so only where needed

    side = 2 + 0.45 * len(counts_CC)
    figure = Figure(figsize=(side + 1, side))
    axes = figure.subplots()
    # colours are shares of a class, since classes differ in their size
    share_CC = counts_CC / np.maximum(counts_CC.sum(1, keepdims=True), 1)
    axes.imshow(share_CC, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts_CC):
        if count:
            colour = "white" if share_CC[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count}", color=colour, ha="center", va="center")
    places = range(len(counts_CC))
    axes.set_xticks(places, labels=names, rotation=90)
    axes.set_yticks(places, labels=names)
    axes.set_xlabel("answer")
    axes.set_ylabel("label")
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight", dpi=80)
    return file.getvalue()
