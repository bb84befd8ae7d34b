"""The models that a method needs, by the names of their roles.

An objective's `needs` says where the model of each role comes from:

    "model"     the model of the Run, which learns
    "start"     a frozen copy of the model as it is before the first step
    "base"      the model of the Run with its LoRA adapters off: no copy of its weights
    "value"     a value for each token, by a copy of the body of the model, which learns
    "value_head"    the same on the features of the model itself
    else        a model directory, whose model is frozen

With LoRA the copy of "value" gets adapters of its own, and its head learns in full.
"""

import dataclasses
import fnmatch
import pathlib
from typing import Any, NamedTuple

import keras

from trainers.run import Run, differences
from zoo import directory, lora, registry
from zoo.directory import adapters, assemble
from zoo.layers import low_rank
from zoo.models import headed, value_model
from zoo.text.tokenizer import Tokenizer

_LEARN = ("model", "value", "value_head")  # the sources of roles that may learn


class Start(NamedTuple):
    """What a run starts from, read before any model is built.

    Attributes:
      config: the Config of the model.
      pretrained: what `init_from` holds, or None for random weights.
      tokenizer: of `init_from`; None for a model of features, or without one.
      generation: the defaults of generation of `init_from`, or None.
      body_only: whether `init_from` gives the body only, and the head is new.
      headless: whether the encoder of `init_from` is taken without its head.
    """

    config: Any
    pretrained: directory.Pretrained | None = None
    tokenizer: Tokenizer | None = None
    generation: directory.GenerationConfig | None = None
    body_only: bool = False
    headless: bool = False


def start(run: Run) -> Start:
    """Reads `init_from`, without its weights.

    Raises:
      ValueError: it is no model directory, or another model than the Run's.
    """
    if not run.init_from:
        return Start(run.model)
    if run.lora.rank and adapters.is_adapter(pathlib.Path(run.init_from)):
        raise ValueError(
            f"config.init_from: {run.init_from} holds adapters, and config.lora.rank "
            f"is {run.lora.rank}; merge them by `python -m zoo.convert` first."
        )
    read = directory.read(run.init_from)
    config = assemble.config_of(read)
    body_only = has_empty_body(run.model)
    headless = not body_only and run.objective.feed == "pairs" and _has_encoder(config)
    if headless:  # the objective learns embeddings, which no head gives
        print(f"{run.init_from}: its encoder is taken, without the {config.task} head.")
        config = config.body
    if body_only:
        body = config.body if registry.name_of(config) == "headed" else config
        config = dataclasses.replace(run.model, body=body)
    elif run.model is not None:
        given = _with_labels(run.model, config)
        lines = differences(_stored(given), _stored(config))
        if lines:
            raise ValueError(
                f"config.init_from: {run.init_from} is another model than "
                f"config.model; it differs in: {'; '.join(lines)}"
            )
        config = given
    tokenizer = read.tokenizer
    if callable(tokenizer):
        tokenizer = tokenizer()
    read = read._replace(tokenizer=tokenizer)
    return Start(config, read, tokenizer, read.generation, body_only, headless)


def has_empty_body(config: Any) -> bool:
    """Whether a Config is that of a head whose body `init_from` gives."""
    return (
        config is not None
        and registry.name_of(config) == "headed"
        and config.body is None
    )


def _has_encoder(config: Any) -> bool:
    """Whether a Config is that of a head on a text encoder."""
    return registry.name_of(config) == "headed" and config.body.task == "embed"


def with_labels(start: Start, labels: tuple[str, ...]) -> Start:
    """The start whose Config has the labels of the data, if it has no names yet.

    Args:
      start: what a run starts from.
      labels: of the training data, in the order of their indices; () is no labels.

    Raises:
      ValueError: the Config has another number of classes.
    """
    config = start.config
    if not labels or config.labels:
        return start
    if config.classes not in (0, len(labels)):
        raise ValueError(
            f"config.model.classes: {config.classes}, but the data have "
            f"{len(labels)} labels: {', '.join(labels[:8])}."
        )
    config = dataclasses.replace(config, classes=len(labels), labels=labels)
    return start._replace(config=config)


def make(run: Run, start: Start) -> dict[str, Any]:
    """Builds the model of each role; call it inside the strategy's scope.

    Raises:
      ValueError: a role's directory is missing or broken; a role learns whose source
        is frozen; or a role is "base" in a run without adapters.
    """
    roles = {}
    needs = run.objective.needs
    for name in sorted(needs, key=lambda name: needs[name] != "model"):
        if needs[name] == "base":
            roles[name] = _base(run, name, roles)
            continue
        roles[name] = _model(start, needs[name], roles, needs)
        if run.lora.rank and needs[name] in ("model", "value"):
            lora.add(roles[name], run.lora, run.seed)
        if name not in run.objective.trains:
            roles[name].trainable = False
        elif needs[name] not in _LEARN:
            raise ValueError(
                f"objective {run.objective.name}: the role {name!r} learns, so its "
                f"source is one of {', '.join(_LEARN)}, not {needs[name]!r}."
            )
    return roles


def _base(run, name, roles) -> lora.Base:
    """The model that learns, without its adapters."""
    policy = next(r for r, source in run.objective.needs.items() if source == "model")
    if not run.lora.rank or name in run.objective.trains:
        raise ValueError(
            f"objective {run.objective.name}: the role {name!r} is 'base', the model "
            f"without adapters, but config.lora.rank is {run.lora.rank}; above 0 "
            "allowed, for a role that does not learn."
        )
    return lora.Base(roles[policy])


def _model(start, source, roles, needs):
    """The model of one role: the Run's, made from it, or that of a directory."""
    if source in ("value", "value_head"):
        policy = next(roles[name] for name in needs if needs[name] == "model")
        return value_model.put_beside(policy, own_body=source == "value")
    policy = keras.config.dtype_policy().name
    if source not in ("model", "start"):
        # in the number type of the run, so that equal weights give equal numbers
        return assemble.assemble(directory.read(source), None, policy).model
    if start.body_only:
        loaded = assemble.assemble(start.pretrained, None, policy).model
        own = dataclasses.fields(start.config)
        values = {f.name: getattr(start.config, f.name) for f in own}
        del values["body"]
        return headed.put_on(loaded, **values)
    if start.headless:
        loaded = assemble.assemble(start.pretrained, None, policy).model
        return headed.take_off(loaded, start.config)
    if start.pretrained is not None:
        return assemble.assemble(start.pretrained, start.config, policy).model
    model = registry.build_config(start.config)
    if source == "start":
        first = next(roles[name] for name in needs if needs[name] == "model")
        model.set_weights(first.get_weights())
    return model


def learning(run: Run, roles: dict[str, keras.Model]) -> list[Any]:
    """The variables that learn, each once, in the order of all that follows.

    Raises:
      ValueError: a pattern of `freeze` fits no weight, or nothing is left to learn.
    """
    found, unused = {}, set(run.freeze)
    path_of = _paths(run, roles)
    for name in run.objective.trains:
        for variable in _trainable(run, roles[name]):
            path = path_of[id(variable)]
            fits = {p for p in run.freeze if fnmatch.fnmatchcase(path, p)}
            unused -= fits
            if not fits:
                found[id(variable)] = variable
    if unused:
        raise ValueError(
            f"config.freeze: {sorted(unused)[0]!r} fits no weight; they are: "
            f"{', '.join(list(path_of.values())[:8])}, ..."
        )
    if not found:
        raise ValueError(f"config.freeze: {run.freeze!r} leaves nothing to learn.")
    return list(found.values())


def paths(run: Run, roles: dict[str, keras.Model], variables) -> list[str]:
    """The weight path of each variable that learns."""
    path_of = _paths(run, roles)
    return [path_of[id(variable)] for variable in variables]


def _paths(run, roles) -> dict[int, str]:
    """The path of each weight of the models that learn, by the weight's identity.

    The paths of all models but the first begin with the name of their role.
    """
    found: dict[int, str] = {}
    for i, name in enumerate(run.objective.trains):
        before = f"{name}/" if i else ""
        for path, variable in assemble.by_path(roles[name]).items():
            found.setdefault(id(variable), before + path)
    return found


def _trainable(run, model):
    """What learns of a model that is not frozen: all of it, or its adapters."""
    adapted = run.lora.rank and low_rank.adapters(model)
    return lora.learning(model) if adapted else model.trainable_variables


def changing(run: Run, roles: dict[str, keras.Model], learning) -> dict[str, list]:
    """The variables of each role that training changes, for checkpoints.

    They are the weights that learn, and states such as those of random streams.
    """
    learn = {id(v) for v in learning}
    return {
        name: [v for v in roles[name].variables if id(v) in learn or not v.trainable]
        for name in run.objective.trains
    }


def _with_labels(given, found):
    """The Run's Config; where it names no classes, it takes those of the directory."""
    names_classes = given.task == found.task in ("classify", "tag")
    if names_classes and not given.labels and given.classes == found.classes:
        return dataclasses.replace(given, labels=found.labels)
    return given


def _stored(config):
    """What a model directory says of a Config, whose 0s stand for other numbers."""
    return directory.fields_of(assemble.without_dropout(config))
