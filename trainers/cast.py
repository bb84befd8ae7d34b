"""The models that a method needs, by name."""

import keras

from trainers.config import Run
from zoo import directory, registry


def make(run: Run) -> dict[str, keras.Model]:
    """Builds the cast of a Run; call it inside the strategy's scope.

    Raises:
      ValueError: `init_from` is another model than the Run's.
    """
    model = registry.build_config(run.model)
    if run.init_from:
        other = directory.load(run.init_from).model
        ours, theirs = (registry.to_fields(m.config) for m in (model, other))
        for field in sorted(ours.keys() | theirs.keys()):
            if field != "dropout" and ours.get(field) != theirs.get(field):
                raise ValueError(
                    f"config.init_from: {run.init_from} has {field} "
                    f"{theirs.get(field)!r}, config.model {ours.get(field)!r}."
                )
        for ours, theirs in zip(model.weights, other.weights, strict=True):
            ours.assign(theirs)
    return {"policy": model}
