"""The picture of a data card: lengths and languages of the documents."""

import io
from typing import Any

_LANGUAGES = 12


def png(card: dict[str, Any]) -> bytes:
    """Draws the histograms of a card as a PNG."""
    # not at import: worker processes never draw
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    languages = list(card["languages"].items())[:_LANGUAGES]
    figure = Figure(figsize=(9 if languages else 5, 3.2), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2 if languages else 1, squeeze=False)[0]
    lengths = card["lengths"]
    used = [power for power, count in enumerate(lengths) if count] or [0]
    powers = range(used[0], used[-1] + 1)
    axes[0].bar([str(2**power) for power in powers], [lengths[p] for p in powers])
    axes[0].set_xlabel("characters, below")
    axes[0].set_ylabel("documents")
    axes[0].set_title("Lengths")
    axes[0].tick_params(axis="x", rotation=60)
    if languages:
        codes = [code for code, _ in languages]
        axes[1].bar(codes, [numbers["documents"] for _, numbers in languages])
        axes[1].set_ylabel("documents of the sample")
        axes[1].set_title("Languages")
        if min(numbers["documents"] for _, numbers in languages) * 100 < max(
            numbers["documents"] for _, numbers in languages
        ):
            axes[1].set_yscale("log")
    data = io.BytesIO()
    figure.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()
