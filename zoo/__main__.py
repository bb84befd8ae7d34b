"""Prints the table of models: python -m zoo"""

import numpy as np
import rich.console
import rich.table

from zoo import models, registry

_CAN = {
    "TransformerLM": "generate, score, evaluate, export",
    "RecurrentLM": "generate, score, evaluate, export",
    "TextEncoder": "embed, export",
    "KerasHubLM": "generate, evaluate",
    "DenseNet": "classify or regress, evaluate, export",
}


def run():
    table = rich.table.Table("model", "what it is", "parameters", "what it can do")
    for name in models.names():
        row = registry.entry(name)
        model = registry.build(name)
        count = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
        can = _CAN[type(model).__name__]
        table.add_row(name, row.about, f"{count:,}", can)
    rich.console.Console().print(table)


if __name__ == "__main__":
    run()
