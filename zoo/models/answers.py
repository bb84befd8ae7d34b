"""What the Configs of models that answer to texts have in common."""

import tensorflow as tf

from zoo import shapes
from zoo.fields import one_of

_WITH_CLASSES = ("classify", "tag")


def checked_classes(
    where: str, task: str, classes: int, labels, tasks=("classify", "regress")
) -> int:
    """The number of classes of a model that answers to texts.

    Args:
      where: the name of the model in messages.
      task: one of `tasks`; "classify" and "tag" have classes.
      classes: as the field of the Config.
      labels: the names of the classes, or empty.
      tasks: those that the model has.

    Returns:
      `classes`, where 0 means as many as the training data have; 0 for a task without
      classes.

    Raises:
      ValueError: names the field, its value and what is allowed.
    """
    one_of(f"{where}.task", task, tasks)
    if task not in _WITH_CLASSES:
        if labels:
            raise ValueError(f"{where}.labels: {task} has no labels.")
        return 0
    if classes == 1 or classes < 0:
        raise ValueError(f"{where}.classes: {classes}, 0 or at least 2 allowed.")
    if labels and len(labels) != classes:
        raise ValueError(f"{where}.labels: {len(labels)} names, classes {classes}.")
    return classes


def outputs(where: str, task: str, classes: int) -> int:
    """The width of a head: `classes`, or 1 for a task without classes.

    Raises:
      ValueError: the number of classes is that of data which are not read yet.
    """
    if task in _WITH_CLASSES and not classes:
        raise ValueError(f"{where}.classes: 0, which only a Run with data has.")
    return max(classes, 1)


def rows(tokens_BT, lengths_B):
    """The tokens as int32, and the tokens of each text: those given, or full rows.

    Raises:
      ValueError: another rank.
    """
    shapes.check("tokens", tokens_BT, "BT")
    # under a Strategy, `fit` builds the model with the mean of the replicas' tokens
    tokens_BT = tf.cast(tokens_BT, tf.int32)
    if lengths_B is None:
        B, T = tf.unstack(tf.shape(tokens_BT))
        lengths_B = tf.fill([B], T)
    return tokens_BT, lengths_B
