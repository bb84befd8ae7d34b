"""What the Configs of models that answer to texts have in common."""

from zoo.fields import one_of


def checked_classes(where: str, task: str, classes: int, labels) -> int:
    """The number of classes of a model that classifies texts or maps them to numbers.

    Args:
      where: the name of the model in messages.
      task: "classify" or "regress".
      classes: as the field of the Config.
      labels: the names of the classes, or empty.

    Returns:
      `classes` for "classify", where 0 means as many as the training data have; 0 for
      "regress".

    Raises:
      ValueError: names the field, its value and what is allowed.
    """
    one_of(f"{where}.task", task, ("classify", "regress"))
    if task == "regress":
        if labels:
            raise ValueError(f"{where}.labels: regress has no labels.")
        return 0
    if classes == 1 or classes < 0:
        raise ValueError(f"{where}.classes: {classes}, 0 or at least 2 allowed.")
    if labels and len(labels) != classes:
        raise ValueError(f"{where}.labels: {len(labels)} names, classes {classes}.")
    return classes


def outputs(where: str, task: str, classes: int) -> int:
    """The width of a head: `classes`, or 1 for regression.

    Raises:
      ValueError: the number of classes is that of data which are not read yet.
    """
    if task == "classify" and not classes:
        raise ValueError(f"{where}.classes: 0, which only a Run with data has.")
    return max(classes, 1)
