"""The registry: names, Configs from plain data, and what is refused."""

import dataclasses
import json
from typing import ClassVar

import pytest

import zoo
from zoo import models, registry
from zoo.fields import at_least, check_fraction, from_fields, suggest


def test_names():
    assert zoo.names() == sorted(zoo.names())
    wanted = {"dense_net", "gru_lm", "lstm_lm", "rnn_lm", "transformer_lm"}
    assert wanted <= set(zoo.names())


@pytest.mark.parametrize("name", models.names())
def test_name_and_config_belong_together(name):
    config = registry.config(name)
    assert registry.name_of(config) == name
    fields = json.loads(json.dumps(registry.to_fields(config)))
    assert fields["name"] == name
    assert registry.from_fields(fields) == config
    assert fields.pop("name") == name
    assert registry.config(name, **fields) == config


def test_build_gives_a_built_model():
    model = zoo.build("gru_lm", vocab_size=20, width=8, units=8, layers=1)
    assert model.built and model.config.cell == "gru"
    assert registry.name_of(model.config) == "gru_lm"


def test_a_name_decides_its_fields():
    with pytest.raises(ValueError, match="gru_lm.cell: 'lstm', 'gru' allowed"):
        registry.config("gru_lm", cell="lstm")
    assert registry.config("gru_lm", cell="gru").cell == "gru"


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(ValueError) as error:
        zoo.build("transformr_lm")
    assert str(error.value) == (
        "Unknown model 'transformr_lm'. Did you mean transformer_lm? Allowed: "
        f"{', '.join(zoo.names())}."
    )
    with pytest.raises(ValueError, match="No model of the registry has the config 3"):
        registry.name_of(3)


@dataclasses.dataclass(kw_only=True)
class Headed:
    task: ClassVar[str] = "classify"
    reads: ClassVar[str] = "text"

    body: registry.Nested
    classes: int = 2


@pytest.fixture
def headed(monkeypatch):
    """Registers a model around the body of another one."""
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    registry.register("headed", Headed, lambda config: config, "a body and a head")


def test_a_config_in_a_config_keeps_its_registered_name(headed):
    body = registry.config("gru_lm", units=7)
    config = Headed(body=body, classes=3)
    fields = json.loads(json.dumps(registry.to_fields(config)))
    assert fields["name"] == "headed" and fields["body"]["name"] == "gru_lm"
    again = registry.from_fields(fields)
    assert again == config and type(again.body) is type(body)
    assert registry.config("headed", body=body) == Headed(body=body)
    deep = Headed(body=config)
    assert registry.from_fields(registry.to_fields(deep)) == deep


@pytest.mark.parametrize(
    "body, words",
    [
        ({"name": "gru_lm", "unit": 7}, "headed.body.unit. Did you mean units?"),
        ({"name": "gru_lm", "cell": "rnn"}, "headed.body.cell: 'rnn', 'gru' allowed"),
        ({"name": "gru"}, "Unknown model 'gru'. Did you mean gru_lm?"),
        ({"units": 7}, "headed.body.name: None. Allowed: bag_of_words, "),
        ({"name": 3}, "headed.body.name: 3. Allowed: bag_of_words, "),
        (3, "headed.body: 3, the Config of a model or an object with its name"),
    ],
)
def test_a_config_in_a_config_is_checked(headed, body, words):
    with pytest.raises(ValueError) as error:
        registry.config("headed", body=body)
    assert words in str(error.value)


@pytest.mark.parametrize("missing", ["task", "reads"])
def test_a_config_must_say_its_kind(missing):
    class Config:
        task, reads = "embed", "text"

    delattr(Config, missing)
    with pytest.raises(ValueError, match=f"mine: its Config has no {missing}"):
        registry.register("mine", Config, lambda config: config, "mine")
    assert "mine" not in registry.names()


@dataclasses.dataclass(kw_only=True)
class Inner:
    size: int = 1


@dataclasses.dataclass(kw_only=True)
class Outer:
    count: int
    rate: float = 0.0
    name: str = ""
    on: bool = False
    sizes: tuple[int, ...] = ()
    names: list[str] = dataclasses.field(default_factory=list)
    inner: Inner = dataclasses.field(default_factory=Inner)


def test_from_fields():
    given = {"count": 2, "rate": 1, "sizes": [1, 2], "inner": {"size": 3}}
    made = from_fields(Outer, given, "outer")
    assert made == Outer(count=2, rate=1.0, sizes=(1, 2), inner=Inner(size=3))
    assert type(made.rate) is float
    assert from_fields(Outer, dataclasses.asdict(made), "outer") == made


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"coumt": 1}, "Unknown field outer.coumt. Did you mean count?"),
        ({"count": 1.0}, "outer.count: 1.0 is a float, expected int"),
        ({"count": True}, "outer.count: True is a bool, expected int"),
        ({"count": None}, "outer.count: None is a NoneType, expected int"),
        ({"count": "1"}, "outer.count: '1' is a str, expected int"),
        ({"count": 1, "rate": float("nan")}, "outer.rate: nan is not a finite number"),
        ({"count": 1, "rate": float("inf")}, "outer.rate: inf is not a finite number"),
        ({"count": 1, "rate": False}, "outer.rate: False is a bool, expected float"),
        ({"count": 1, "on": 1}, "outer.on: 1 is a int, expected bool"),
        ({"count": 1, "sizes": [1, "2"]}, "outer.sizes[1]: '2' is a str, expected int"),
        ({"count": 1, "sizes": 3}, "outer.sizes: 3 is a int"),
        ({"count": 1, "inner": {"sise": 1}}, "outer.inner.sise. Did you mean size?"),
        ({"count": 1, "inner": []}, "outer.inner: [] is a list, expected Inner"),
        ({}, "outer: "),
    ],
)
def test_from_fields_refuses(fields, words):
    with pytest.raises(ValueError) as error:
        from_fields(Outer, fields, "outer")
    assert words in str(error.value)


def test_numbers():
    at_least("x", 0, 0)
    check_fraction("x", 0.0)
    for value in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="x: .*, at least 0 allowed"):
            at_least("x", value, 0)
    for value in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="x: .*, at least 0 and below 1 allowed"):
            check_fraction("x", value)


def test_suggestions():
    fields = ("lr", "momentum", "warmup")
    assert suggest("learning_rate", fields).startswith(" Did you mean lr?")
    assert suggest("warm_up", fields).startswith(" Did you mean warmup?")
    assert suggest("xyz", fields) == " Allowed: lr, momentum, warmup."
