"""One table of knobs: all others are made from it, or compared with it here."""

import importlib.util
import pathlib
import re

import pytest

from zoo.decode.sampling import Knobs
from zoo.generation_config import KNOBS, NUMBERS, GenerationConfig
from zoo.row_seeds import row_seed

ROOT = pathlib.Path(__file__).parents[2]


def client(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"deploy/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tensors_of_a_batch_are_those_of_the_table():
    assert Knobs._fields == tuple(knob.name for knob in NUMBERS)
    assert [spec.dtype.name for spec in Knobs.specs()] == [k.dtype for k in NUMBERS]
    filled = Knobs.filled(GenerationConfig(top_k=3, seed=2**40), 2)
    assert filled.top_k.numpy().tolist() == [3, 3]
    assert filled.seed.numpy().tolist() == [2**40] * 2


def test_clients_have_its_names_types_and_defaults():
    defaults = {knob.name: knob.default for knob in NUMBERS}
    assert client("client_http").KNOBS == defaults
    pytest.importorskip("grpc")
    assert client("client_grpc").KNOBS == {knob.name: knob.dtype for knob in NUMBERS}


def test_the_page_has_its_rows():
    page = (ROOT / "docs/serving.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+?) \| (.+?) \| (.+) \|$", page, re.M)
    wanted = [(k.name, k.dtype, str(k.default), str(k.range), k.help) for k in NUMBERS]
    assert [row for row in rows if row[0] != "stop"] == wanted
    assert rows[-1][0] == "stop" and rows[-1][-1] == KNOBS[-1].help


def test_help_lists_them():
    for knob in KNOBS:
        assert f"  {knob.name}: {knob.help}" in GenerationConfig.__doc__


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"max_new_tokens": 2**31}, "max_new_tokens: 2147483648, at least 1 allowed"),
        ({"seed": 2**63}, "seed: 9223372036854775808, integers of 64 bits allowed"),
        ({"temperature": float("inf")}, "temperature: inf, at least 0 allowed"),
        ({"stop": ("a", "")}, "no empty string"),
    ],
)
def test_numbers_that_no_tensor_holds_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        GenerationConfig(**fields)


def test_one_stop_string_is_a_list_of_one():
    assert GenerationConfig(stop="the end").stop == ("the end",)


def test_sampling_without_top_k_is_that_of_transformers():
    def top_k(**fields):
        return GenerationConfig.from_json(fields, "x").top_k

    assert top_k(do_sample=True) == 50  # GenerationConfig().top_k of transformers
    assert top_k(do_sample=True, top_k=None) == 0
    assert top_k(do_sample=True, top_k=7) == 7
    assert top_k() == top_k(do_sample=False) == 0
    written = GenerationConfig(temperature=1.0).to_json(0)
    assert GenerationConfig.from_json(written, "x").top_k == 0


def test_a_file_that_samples_beams_gives_one_beam():
    file = {"num_beams": 4, "num_return_sequences": 2, "temperature": 0.7}
    sampled = GenerationConfig.from_json({"do_sample": True, **file}, "x")
    assert (sampled.beams, sampled.num_return_sequences) == (1, 1)
    assert sampled.temperature == 0.7
    searched = GenerationConfig.from_json({"do_sample": False, **file}, "x")
    assert (searched.beams, searched.num_return_sequences) == (4, 2)
    assert searched.temperature == 0


def test_row_seeds_differ_and_fit_64_bits():
    seeds = [0, 1, 2, 5, -1, 2**63 - 1, -(2**63)]
    rows = [row_seed(seed, row) for seed in seeds for row in range(300)]
    assert len(set(rows)) == len(rows)
    assert all(-(2**63) <= seed < 2**63 for seed in rows)
    assert [row_seed(seed, 0) for seed in seeds] == seeds
