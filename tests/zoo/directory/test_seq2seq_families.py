"""Encoder-decoders as transformers made them: the same logits, the same text.

The golden files in `families/seq2seq` are tiny random checkpoints with what
transformers says of them; `families/make_seq2seq.py` made them.
"""

import json
import pathlib

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from zoo import directory
from zoo.decode.beam import beam_decode
from zoo.decode.sampling import Knobs
from zoo.decode.search import Search
from zoo.directory import hf

FOLDER = pathlib.Path(__file__).parent / "families" / "seq2seq"
# mT5 is T5 without a scale, and is written as T5.
MODELS = {
    "t5": "t5",
    "flan_t5": "t5",
    "mt5": "t5",
    "bart": "bart",
    "marian": "marian",
    "marian_two": "marian",
}


LONG = [
    name if name in ("t5", "marian_two") else pytest.param(name, marks=pytest.mark.long)
    for name in MODELS
]


@pytest.fixture(scope="module")
def models():
    """The models, each loaded once."""
    return {name: directory.load(FOLDER / name).model for name in MODELS}


def read(name):
    return json.loads((FOLDER / name / "config.json").read_text())


def test_every_family_is_here():
    assert {read(name)["model_type"] for name in MODELS} == set(hf.SEQ2SEQ)


def test_logits(models):
    for name, model in models.items():
        wanted = np.load(FOLDER / name / "golden.npz")
        source, lengths = map(tf.constant, (wanted["source"], wanted["lengths"]))
        tokens = tf.constant(wanted["tokens"])
        x = model.features(tokens, source=source, source_lengths=lengths)
        weight, bias = model.head()
        logits = tf.einsum("btd,vd->btv", x, weight) + (0.0 if bias is None else bias)
        real = np.arange(tokens.shape[1]) < wanted["target_lengths"][:, None]
        assert np.abs(wanted["logits"]).max() > 1
        assert np.abs(logits - wanted["logits"])[real].max() < 1e-4, name


@pytest.mark.parametrize("name", LONG)
def test_answers(name, models):
    """The answers of greedy decoding and of four beams, in one batch."""
    wanted = np.load(FOLDER / name / "golden.npz")
    rows, steps = wanted["greedy"].shape
    knobs = directory.GenerationConfig(max_new_tokens=steps, beams=4)
    search = Search.filled(knobs, 2 * rows)
    search = search._replace(beams=tf.constant([1] * rows + [4] * rows))
    decode = tf.function(beam_decode, autograph=False)
    found = decode(
        models[name],
        tf.constant(np.tile(wanted["source"], (2, 1))),
        tf.constant(np.tile(wanted["lengths"], 2)),
        Knobs.filled(knobs, 2 * rows),
        search,
        (),
    )
    answers = np.concatenate([wanted["greedy"], wanted["beams"]])
    np.testing.assert_array_equal(found.tokens[:, 0], answers)
    np.testing.assert_allclose(found.scores[rows:, 0], wanted["scores"], atol=1e-4)


def test_import_export_import(models, tmp_path):
    """No bit of the model is lost, nor of the file."""
    for name, model in models.items():
        folder = tmp_path / name
        directory.save(folder, model)
        assert (
            json.loads((folder / "config.json").read_text())["model_type"]
            == MODELS[name]
        )
        again = directory.load(folder).model
        assert hf.with_defaults(again.config) == hf.with_defaults(model.config)
        for mine, other in zip(again.weights, model.weights, strict=True):
            np.testing.assert_array_equal(mine, other)
        first = safetensors.numpy.load_file(FOLDER / name / "model.safetensors")
        second = safetensors.numpy.load_file(folder / "model.safetensors")
        assert first.keys() == second.keys(), name
        for path, value in first.items():
            np.testing.assert_array_equal(value.astype(np.float32), second[path])


REFUSED = [
    ("t5", {"feed_forward_proj": "a-b"}, "feed_forward_proj 'a-b'"),
    ("t5", {"feed_forward_proj": "gated-x"}, "activation 'x'"),
    ("t5", {"is_encoder_decoder": False}, "is_encoder_decoder False; allowed: True"),
    ("bart", {"decoder_ffn_dim": 24}, "decoder_ffn_dim 24; allowed: 20"),
    ("bart", {"decoder_attention_heads": 4}, "decoder_attention_heads 4; allowed: 2"),
    ("bart", {"normalize_before": True}, "normalize_before True; allowed: False"),
    ("marian", {"normalize_embedding": True}, "normalize_embedding True"),
    ("marian", {"static_position_embeddings": False}, "static_position_embeddings"),
    ("marian", {"decoder_vocab_size": 41}, "decoder_vocab_size 41; allowed: 40"),
    ("bart", {"model_type": "mbart"}, "model_type 'mbart'"),
]


@pytest.mark.parametrize("name, changes, words", REFUSED, ids=str)
def test_refused(name, changes, words):
    with pytest.raises(ValueError) as error:
        hf.from_hf({**read(name), **changes}, "DIR/config.json")
    message = str(error.value)
    assert message.startswith("DIR/config.json: ") and words in message


def test_defaults_of_generation(tmp_path):
    """Of generation_config.json, or of config.json where there is none."""
    fields = {
        "num_beams": 4,
        "length_penalty": 2.0,
        "early_stopping": True,
        "no_repeat_ngram_size": 3,
        "forced_bos_token_id": 0,
        "forced_eos_token_id": 2,
        "bad_words_ids": [[39]],
    }
    for path in (FOLDER / "bart").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({**read("bart"), **fields}))
    generation = directory.GenerationConfig()
    assert directory.read(tmp_path).generation == generation
    wanted = directory.GenerationConfig(
        beams=4,
        length_penalty=2.0,
        early_stopping=1,
        no_repeat_ngram=3,
        forced_bos_token_id=0,
        forced_eos_token_id=(2,),
        bad_words_ids=((39,),),
    )
    (tmp_path / "generation_config.json").unlink()
    assert directory.read(tmp_path).generation == wanted
    (tmp_path / "generation_config.json").write_text(json.dumps(fields))
    (tmp_path / "config.json").write_text(json.dumps(read("bart")))
    assert directory.read(tmp_path).generation == wanted


def test_tables_that_repeat_are_read_by_any_name(tmp_path):
    """Files have the shared table under one or several of its names."""
    folder = FOLDER / "t5"
    values = safetensors.numpy.load_file(folder / "model.safetensors")
    table = values.pop("shared.weight")
    values["encoder.embed_tokens.weight"] = table
    values["lm_head.weight"] = table.copy()
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    safetensors.numpy.save_file(values, tmp_path / "model.safetensors")
    model = directory.load(tmp_path).model
    assert model.config.tied_head and model.config.logit_scale == 16**-0.5
    values["decoder.embed_tokens.weight"] = table + 1
    safetensors.numpy.save_file(values, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="but they differ"):
        directory.load(tmp_path)
