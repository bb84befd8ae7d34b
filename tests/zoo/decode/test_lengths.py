"""No answer ends before its least length; answers are those of transformers.

`make_golden_lengths.py` made the golden file, of cases where the least length matters.
"""

import dataclasses
import json
import pathlib

import pytest

from zoo import directory
from zoo.decode import generate
from zoo.generation_config import GenerationConfig

HERE = pathlib.Path(__file__).parent
FAMILIES = HERE.parent / "directory" / "families"
CASES = json.loads((HERE / "golden" / "lengths.json").read_text())
LONG = [
    pytest.param(
        name,
        beams,
        marks=[] if (name, beams) == ("bart_summary", 4) else pytest.mark.long,
    )
    for name in CASES
    for beams in (1, 4)
]


class Ids:
    """A tokenizer without texts."""

    prefix, json = [], ""

    def __init__(self, vocab_size, end_id):
        self.vocab_size, self.end_ids = vocab_size, [end_id]

    def decode(self, ids, continuing=False):
        del ids, continuing
        return ""


@pytest.mark.parametrize("name, beams", LONG)
def test_answers_are_those_of_transformers(name, beams):
    case = CASES[name]
    model = directory.load(FAMILIES / case["folder"]).model
    first = 1 if case["folder"].startswith("seq2seq") else 0
    config = GenerationConfig.from_json(case["fields"], name, first)
    config = dataclasses.replace(config, beams=beams)
    tokenizer = Ids(model.config.vocab_size, case["fields"]["eos_token_id"])
    found = generate(model, tokenizer, case["prompts"], config)
    wanted = case["greedy" if beams == 1 else "beams"]
    assert [answer.tokens for answer in found] == wanted


def test_fields_of_a_file():
    def read(first=1, **fields):
        return GenerationConfig.from_json(fields, "DIR/generation_config.json", first)

    config = read(min_length=56, max_length=142)
    assert (config.min_length, config.max_new_tokens) == (56, 141)
    assert read(0, max_length=142).max_new_tokens == 64
    assert read(max_length=142, max_new_tokens=7).max_new_tokens == 7
    both = read(min_length=56, min_new_tokens=3)
    assert (both.min_length, both.min_new_tokens) == (0, 3)
    assert config.to_json(2)["min_length"] == 56
    for written in (config, both):
        assert read(**written.to_json(2)) == written
    assert "min_length" not in GenerationConfig().to_json(2)
    for fields, words in (
        ({"min_length": -1}, "min_length: -1, at least 0 allowed"),
        ({"min_new_tokens": 1.5}, "min_new_tokens: 1.5 is a float, expected int"),
        ({"max_length": 1}, "max_length: 1, integers above 1 allowed"),
        ({"max_length": "9"}, "max_length: '9', integers above 1 allowed"),
    ):
        with pytest.raises(ValueError, match=f"DIR/generation_config.json: .*{words}"):
            read(**fields)
