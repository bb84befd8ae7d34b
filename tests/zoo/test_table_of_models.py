"""`python -m zoo`: the table of models, and the description of one."""

import dataclasses
from typing import ClassVar

import pytest

import zoo
from zoo import __main__ as table
from zoo import registry


@dataclasses.dataclass(kw_only=True)
class Config:
    """The fields of the model.

    Attributes:
      size: how large, in tokens; the words
        go on here.
      low, high: of a range.
    """

    task: ClassVar[str] = "rank"
    reads: ClassVar[str] = "text"

    size: int = 3
    low: float = 0.5
    high: float = 1.0


def test_the_table_has_every_model_and_its_abilities(commands):
    done = commands("zoo")
    assert done.code == 0, done.out
    lines = {
        line.split()[1]: line
        for line in done.out.splitlines()
        if "export" in line or "generate" in line
    }
    assert sorted(lines) == zoo.names()
    assert "generate, export" in lines["lstm_lm"]
    assert "generate" in lines["keras_hub"] and "export" not in lines["keras_hub"]
    assert "features" in lines["dense_net"] and "classify" in lines["dense_net"]


def test_the_table_builds_no_model(monkeypatch, capsys):
    monkeypatch.setattr(registry, "build_config", lambda config: pytest.fail("built"))
    table.print_table()
    assert "transformer_lm" in capsys.readouterr().out


def test_a_model_that_was_added_by_the_guide_is_in_the_table(monkeypatch, capsys):
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    registry.register("mine", Config, lambda config: pytest.fail("built"), "my model")
    table.print_table()
    (line,) = (x for x in capsys.readouterr().out.splitlines() if "mine" in x)
    assert "my model" in line and "rank, export" in line


def test_a_description_has_every_field(commands):
    done = commands("zoo", "--describe=gru_lm")
    assert done.code == 0, done.out
    assert "Reads text. Can: generate, export." in done.out
    count = sum(v.shape.num_elements() for v in _weights("gru_lm"))
    assert f"Parameters with the defaults below: {count:,}" in done.out
    lines = {x.split()[1]: x for x in done.out.splitlines() if x.startswith("│ ")}
    for field in dataclasses.fields(registry.entry("gru_lm").config):
        default = getattr(registry.config("gru_lm"), field.name)
        assert repr(default) in lines[field.name]
    assert "'gru' (fixed)" in lines["cell"]
    assert "the number of token ids" in lines["vocab_size"]


def _weights(name):
    return [v.value for v in zoo.build(name).trainable_weights]


@pytest.mark.parametrize("name", zoo.names())
def test_every_field_has_a_meaning(name):
    config = registry.entry(name).config
    fields = [field.name for field in dataclasses.fields(config)]
    assert list(table.attributes(config)) == fields


def test_meanings():
    assert table.attributes(Config) == {
        "size": "how large, in tokens; the words go on here.",
        "low": "of a range.",
        "high": "of a range.",
    }
    assert table.attributes(object) == {}


def test_what_cannot_be_exported_says_why(monkeypatch, capsys):
    def net(config):
        return zoo.build("dense_net", features=config.size, widths=(), classes=2)

    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    registry.register("mine", Config, net, "my model", not_exported="it is large")
    table.describe(registry.entry("mine"))
    out = capsys.readouterr().out
    assert "Cannot be exported: it is large." in out
    assert "Parameters with the defaults below: 8" in out


@pytest.mark.parametrize(
    "argument, words",
    [
        ("lstm_lm", "Unknown argument 'lstm_lm'"),
        ("--describe=lstm", "Unknown model 'lstm'. Did you mean lstm_lm?"),
        ("--describe=", "Unknown model ''. Allowed: bag_of_words, dense_net, "),
    ],
)
def test_a_wrong_argument_is_an_error(commands, argument, words):
    done = commands("zoo", argument)
    assert done.code == 1
    (error,) = done.errors
    assert words in error
