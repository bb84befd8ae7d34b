"""An exported encoder-decoder: beams, scores, and requests that are refused."""

import numpy as np
import pytest
import tensorflow as tf

from zoo import directory, models
from zoo.directory import GenerationConfig
from zoo.saved_model import checker, writer
from zoo.saved_model.checker import c_api

pytestmark = pytest.mark.long  # the export and its first answers take a minute

SOURCES = ["the sea was calm", "a", "and the evening and the morning", "of of of of"]
NEW = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    model = models.build(
        "encoder_decoder",
        vocab_size=300,
        context=24,
        source_context=40,
        width=16,
        heads=2,
        encoder_layers=1,
        layers=1,
    )
    for i, weight in enumerate(model.weights):
        noise = tf.random.stateless_normal(weight.shape, [i, 5], stddev=0.6)
        weight.assign(noise + (1.0 if weight.path.endswith("scale") else 0.0))
    root = tmp_path_factory.mktemp("seq2seq")
    generation = GenerationConfig(max_new_tokens=NEW, beams=2)
    directory.save(root / "model", model, tokenizer, generation=generation)
    return writer.write(root / "served", directory.load(root / "model"))


@pytest.fixture(scope="module")
def session(folder):
    with c_api.Session(str(folder)) as session:
        yield session


def run(session, signature, **inputs):
    outputs = session.run(signature, inputs)
    return {name: np.array(value.tolist()) for name, value in outputs.items()}


def test_rows_do_not_depend_on_their_mates(session):
    knobs = {
        "beams": [4, 1, 3, 1],
        "num_return_sequences": [2, 1, 3, 1],
        "temperature": [0.0, 0.7, 0.0, 0.0],
        "seed": [0, 3, 0, 0],
        "no_repeat_ngram": [0, 0, 2, 0],
    }
    together = run(session, "generate", text=SOURCES, **knobs)
    for i, source in enumerate(SOURCES):
        row = {name: [values[i]] for name, values in knobs.items()}
        alone = run(session, "generate", text=[source], **row)
        count = knobs["num_return_sequences"][i]
        for name in ("text", "num_tokens", "finish_reason"):
            assert alone[name][0] == together[name][i]
        assert list(alone["texts"][0, :count]) == list(together["texts"][i, :count])
        assert np.allclose(
            alone["scores"][0, :count], together["scores"][i, :count], atol=1e-5
        )
        assert np.array_equal(alone["tokens"][0], together["tokens"][i])
        assert not any(together["texts"][i, count:])
    wide = run(session, "generate", text=SOURCES[:1], beams=[4])
    greedy = run(session, "generate", text=SOURCES[:1], beams=[1])
    assert wide["scores"][0, 0] >= greedy["logprob"][0] / NEW - 1e-5
    default = run(session, "serving_default", text=SOURCES)
    two = run(session, "generate", text=SOURCES, beams=[2])
    assert list(default["text"]) == list(two["text"])


def test_scores_are_those_of_generation(session, tokenizer):
    out = run(session, "generate", text=SOURCES, beams=[1])
    answers = [
        tokenizer.decode([t for t in row[:n] if t not in tokenizer.end_ids])
        for row, n in zip(out["tokens"], out["num_tokens"], strict=True)
    ]
    scored = run(session, "score", source=SOURCES, target=answers)
    compared = 0
    for i, answer in enumerate(answers):
        ids = [*tokenizer.encode(answer), tokenizer.end_id]
        assert scored["num_tokens"][i] == len(ids)
        assert np.isclose(scored["logprob"][i], scored["token_logprobs"][i].sum())
        same = 0  # text does not always give back the ids that made it
        while same < min(len(ids), out["num_tokens"][i]) and (
            ids[same] == out["tokens"][i, same]
        ):
            same += 1
        compared += same
        assert np.allclose(
            scored["token_logprobs"][i, :same],
            out["token_logprobs"][i, :same],
            atol=1e-5,
        )
    assert compared > 3


def test_both_sides_have_a_tokenizer(session, tokenizer):
    for side in ("", "_source"):
        made = run(session, f"tokenize{side}", text=SOURCES)
        pairs = zip(made["tokens"], made["lengths"], strict=True)
        ids = [list(row[:count]) for row, count in pairs]
        assert ids == [tokenizer.encode(source) for source in SOURCES]
        made = {name: value.tolist() for name, value in made.items()}
        back = run(session, f"detokenize{side}", **made)
        assert [text.decode() for text in back["text"]] == SOURCES


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"text": ["a", ""]}, "text: row 1 has 0, tokens, at least 1 allowed"),
        ({"text": ["a " * 60]}, "text: row 0 has .*, tokens, at most 40 allowed"),
        ({"beams": [65]}, "beams: row 0 has 65, 1 to 64 allowed"),
        (
            {"num_return_sequences": [3]},
            "num_return_sequences: row 0 has 3, at most beams allowed",
        ),
        (
            {"temperature": [0.5], "beams": [2]},
            "temperature: row 0 has 0.5, 0 with several beams allowed",
        ),
        ({"max_new_tokens": [25]}, "max_new_tokens: row 0 has 25, 1 to 24 allowed"),
    ],
)
def test_bad_requests(session, knobs, words):
    with pytest.raises(c_api.Error, match=words):
        session.run("generate", {"text": ["a"], **knobs})


def test_the_check_passes(folder):
    report = checker.check(str(folder), calls=0)
    assert report.ok, report.failures()
