"""The models that a method needs, by name."""

import dataclasses

import keras

from trainers.run import Run, differences
from zoo import directory, registry


def make(run: Run) -> dict[str, keras.Model]:
    """Builds the cast of a Run; call it inside the strategy's scope.

    Raises:
      ValueError: `init_from` is another model than the Run's.
    """
    model = registry.build_config(run.model)
    if run.init_from:
        other = directory.load(run.init_from).model
        lines = differences(_stored(model.config), _stored(other.config))
        if lines:
            raise ValueError(
                f"config.init_from: {run.init_from} is another model than "
                f"config.model; it differs in: {'; '.join(lines)}"
            )
        for ours, theirs in zip(model.weights, other.weights, strict=True):
            ours.assign(theirs)
    return {"policy": model}


def _stored(config):
    """What a model directory says of a Config, whose 0s stand for other numbers."""
    return directory.fields_of(dataclasses.replace(config, dropout=0.0))
