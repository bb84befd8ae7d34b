"""The config.json of a model with a head, as a `headed.Config` and back."""

import dataclasses
from typing import Any

from zoo.directory.hf import heads, parts
from zoo.directory.hf.bert import SENTENCE
from zoo.fields import from_fields
from zoo.models import headed

MOST_LABELS = 100_000  # names of more take too much memory before a tensor is read


def body_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of a body's Config: a language model without its own head."""
    without = {"tied_head": True, "head_bias": False}
    return fields | (without if "tied_head" in fields else {})


def read(head: heads.Head, value: dict[str, Any], where: str, body) -> headed.Config:
    """Returns the Config of a model with a head.

    Args:
      head: the head that the config.json names.
      value: the content of the config.json.
      where: the start of error messages.
      body: the Config of its body.

    Raises:
      ValueError: labels that are no list of names, more than one number for a text, or
        a value that is not supported.
    """
    for field, *allowed in head.checks:
        parts.refuse(value, where, field, *allowed)
    fields = {"task": head.task, **head.fields}
    if head.task != "fill_mask":
        fields |= _classes(head, value, where)
    if head.dropout:
        rates = [value.get(name) for name in head.dropout]
        fields["dropout"] = next((rate for rate in rates if rate is not None), 0.1)
    own = value.get("zoo")
    if isinstance(own, dict) and "head_dropout" in own:
        fields["dropout"] = own["head_dropout"]
    try:
        return from_fields(headed.Config, {"body": body, **fields}, "headed")
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def write(
    head: heads.Head, config: headed.Config, value: dict[str, Any]
) -> dict[str, Any]:
    """Returns the config.json of a model with a head.

    Args:
      head: one of the body's family.
      config: from `with_defaults`.
      value: the config.json of the body.
    """
    value = {**value, "architectures": [head.architecture]}
    value.pop(SENTENCE, None)
    if head.dropout:
        value[head.dropout[0]] = config.dropout
    if head.task == "fill_mask":
        return value
    labels = config.labels or _numbered(1)
    value["id2label"] = {str(i): name for i, name in enumerate(labels)}
    value["label2id"] = {name: i for i, name in enumerate(labels)}
    if head.task == "classify":
        one = config.task == "regress"
        value["problem_type"] = heads.REGRESSION if one else heads.CLASSIFICATION
    return value


def with_defaults(config: headed.Config) -> headed.Config:
    """Returns the Config with all that `read` would find in its config.json.

    Fields of the body that do not change what the head reads get one value.
    """
    body, pooling = config.body, config.pooling
    if not pooling:
        pooling = "last"
        if body.task == "embed":
            pooling = "first" if body.pooling == "cls" else "mean"
    if body.task == "embed":
        body = dataclasses.replace(body, pooling="mean", normalization="none")
    else:
        body = dataclasses.replace(body, tied_head=True, head_bias=False)
    return dataclasses.replace(
        config,
        body=parts.with_defaults(body),
        pooling=pooling if config.task in ("classify", "regress") else "",
        labels=config.labels or _numbered(config.classes),
    )


def _classes(head, value, where) -> dict[str, Any]:
    """Reads the task, the number of classes and their names."""
    labels, problem = _labels(value, where), value.get("problem_type")
    if head.task == "tag" or len(labels) > 1 and problem != heads.REGRESSION:
        return {"task": head.task, "classes": len(labels), "labels": labels}
    if len(labels) > 1 or problem == heads.CLASSIFICATION:
        raise ValueError(
            f"{where}: problem_type {problem!r}, but the number of labels is "
            f"{len(labels)}; {heads.REGRESSION} with 1 allowed, and "
            f"{heads.CLASSIFICATION} with 2 or more."
        )
    return {"task": "regress", "classes": 0, "labels": ()}


def _labels(value, where) -> tuple[str, ...]:
    """Reads the names of the classes, in the order of their ids."""
    field = "id2label" if value.get("id2label") else "label2id"
    names = value.get(field)
    if not names:
        count = parts.integer(value, where, "num_labels", 2)
        if not 1 <= count <= MOST_LABELS:
            raise ValueError(
                f"{where}: num_labels {count}, 1 to {MOST_LABELS} allowed."
            )
        return _numbered(count)
    pairs = names.items() if isinstance(names, dict) else ()
    if field == "label2id":
        pairs = ((i, name) for name, i in pairs)
    by_id = {str(i): name for i, name in pairs if isinstance(name, str | int)}
    ids = [str(i) for i in range(len(names))]
    if by_id.keys() != set(ids):
        raise ValueError(
            f"{where}: {field} {names!r:.80}, a name for each id from 0 to "
            f"{len(names) - 1} allowed."
        )
    count = value.get("num_labels", len(ids))
    if count != len(ids):
        raise ValueError(
            f"{where}: num_labels {count!r}, but {field} has {len(ids)} names."
        )
    return tuple(str(by_id[i]) for i in ids)


def _numbered(count) -> tuple[str, ...]:
    """Returns the names that transformers gives to classes without names."""
    return tuple(f"LABEL_{i}" for i in range(count))
