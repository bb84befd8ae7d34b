"""What the Configs of models that answer with labels have in common."""

from zoo.fields import one_of


def check(where: str, task: str, classes: int, labels: tuple[str, ...]) -> None:
    """Checks the fields of a model that classifies texts or maps them to numbers.

    Args:
      where: the name of the model in messages.
      task: "classify" or "regress".
      classes: the number of classes; 0 with "classify" means as many as the training
        data have, and 0 is the only number with "regress".
      labels: the names of the classes, or empty.

    Raises:
      ValueError: names the field, its value and what is allowed.
    """
    one_of(f"{where}.task", task, ("classify", "regress"))
    if task == "regress" and classes:
        raise ValueError(f"{where}.classes: {classes}, 0 allowed for regress.")
    if classes == 1 or classes < 0:
        raise ValueError(
            f"{where}.classes: {classes}; at least 2, or 0 (those of the data) allowed."
        )
    if labels and len(labels) != classes:
        raise ValueError(f"{where}.labels: {len(labels)} names, classes {classes}.")


def outputs(where: str, task: str, classes: int) -> int:
    """The width of a head: `classes`, or 1 for regression.

    Raises:
      ValueError: the number of classes is still to come from the data.
    """
    if task == "classify" and not classes:
        raise ValueError(f"{where}.classes: 0, at least 2 needed to build the model.")
    return max(classes, 1)
