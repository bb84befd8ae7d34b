"""Beam search is that of transformers, and each row's own."""

import functools
import json
import pathlib

import golden_beams
import numpy as np
import pytest
import tensorflow as tf

from zoo.decode import loop
from zoo.decode.beam import beam_decode
from zoo.decode.rules import Rules
from zoo.decode.sampling import Knobs
from zoo.decode.search import Search
from zoo.directory import assemble
from zoo.directory.pretrained import Pretrained
from zoo.generation_config import NUMBERS, SEARCH, GenerationConfig

GOLDEN = pathlib.Path(__file__).with_name("golden") / "beams.json"
WIDTH = 8  # of the padded prompts


@pytest.fixture(scope="module")
def model():
    pretrained = Pretrained(
        "tiny", golden_beams.CONFIG, golden_beams.tensors(), None, GenerationConfig()
    )
    return assemble.assemble(pretrained).model


@pytest.fixture(scope="module")
def search(model):
    """`search(name, rows)` with the rules of a directory; traced once for each."""

    @functools.cache
    def traced(name):
        end_ids, fields = golden_beams.DIRECTORIES[name]
        generation = GenerationConfig.from_json(fields, name)
        rules = Rules.of(generation, end_ids)

        @tf.function(
            autograph=False,
            input_signature=[
                tf.TensorSpec([None, None], tf.int32),
                tf.TensorSpec([None], tf.int32),
                Knobs.specs(),
                Search.specs(),
            ],
        )
        def run(tokens_BT, lengths_B, knobs, search):
            return beam_decode(
                model, tokens_BT, lengths_B, knobs, search, end_ids, rules=rules
            )

        return run

    def call(name, rows):
        tokens_BT = np.zeros((len(rows), WIDTH), np.int32)
        for i, row in enumerate(rows):
            tokens_BT[i, : len(row["prompt"])] = row["prompt"]
        lengths_B = tf.constant([len(row["prompt"]) for row in rows])

        def values(table):
            return (
                tf.constant([row.get(k.name, k.default) for row in rows], k.dtype)
                for k in table
            )

        tensors = Knobs(*values(NUMBERS)), Search(*values(SEARCH))
        return traced(name)(tf.constant(tokens_BT), lengths_B, *tensors)

    return call


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "rules",
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in ("two_ends", "no_end")
        ),
    ],
)
def test_ids_and_scores_are_those_of_transformers(search, name):
    """50 rows, each with its own knobs, in one batch."""
    rows = golden_beams.cases()[name]
    wanted = json.loads(GOLDEN.read_text("utf-8"))[name]
    out = search(name, rows)
    compared = total = 0
    for i, (row, answers) in enumerate(zip(rows, wanted, strict=True)):
        for k in range(row["num_return_sequences"]):
            total += 1
            if answers["scores"][k] < -1e6:
                # fewer texts than beams: the rest has ties near -1e9, in no order
                assert float(out.scores[i, k]) < -1e6
                continue
            compared += 1
            ids = out.tokens[i, k, : int(out.num_tokens[i, k])].numpy().tolist()
            assert ids == answers["ids"][k], (i, k, row)
            score = float(out.scores[i, k])
            assert score == pytest.approx(answers["scores"][k], rel=1e-5, abs=1e-5)
    assert compared > 0.9 * total


def test_a_row_does_not_depend_on_its_mates(search):
    """Other mates and another place: the same bits. Alone: the same answers."""
    rows = golden_beams.cases()["plain"][:6]
    rows = [{**row, "max_new_tokens": 8} for row in rows]
    rows[0]["beams"], rows[5]["beams"] = 2, 5  # 3 beams of row 0 do not exist
    first = search("plain", rows)
    mates = golden_beams.cases()["plain"][10:15]
    mates = [{**row, "max_new_tokens": 8} for row in mates]
    mates[0]["beams"] = 5
    second = search("plain", [*mates, rows[0]])
    for name in first._fields:
        got, wanted = getattr(second, name)[5], getattr(first, name)[0]
        np.testing.assert_array_equal(got, wanted, name)
    alone = search("plain", rows[:1])
    np.testing.assert_array_equal(alone.tokens[0], first.tokens[0, :2])
    np.testing.assert_allclose(alone.scores[0], first.scores[0, :2], rtol=1e-6)
    assert not first.num_tokens[0, 2:].numpy().any()


@pytest.mark.parametrize("name", ["two_ends", "rules"])
def test_one_beam_is_greedy_decoding(model, search, name):
    rows = [
        {
            "prompt": [20 + i],
            "max_new_tokens": 10,
            "repetition_penalty": 1.0 + 0.2 * (i % 2),
            "no_repeat_ngram": i % 3,
            "beams": 4 if i == 0 else 1,
        }
        for i in range(6)
    ]
    out = search(name, rows)
    end_ids, fields = golden_beams.DIRECTORIES[name]
    knobs = Knobs(
        *(
            tf.constant([row.get(k.name, k.default) for row in rows], k.dtype)
            for k in NUMBERS
        )
    )
    n_B = tf.constant([row["no_repeat_ngram"] for row in rows])
    rules = Rules.of(GenerationConfig.from_json(fields, name), end_ids, n_B)
    tokens_BT = tf.constant([row["prompt"] for row in rows])
    greedy = loop.decode(
        model, tokens_BT, tf.ones(6, tf.int32), knobs, end_ids, rules=rules
    )
    np.testing.assert_array_equal(out.tokens[1:, 0], greedy.tokens[1:])
    np.testing.assert_array_equal(out.stopped[1:, 0], greedy.stopped[1:])
    np.testing.assert_allclose(out.logprobs[1:, 0], greedy.logprobs[1:], atol=1e-5)
