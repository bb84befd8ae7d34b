"""Model directories: read as they were written, bit for bit."""

import numpy as np
import pytest
import safetensors.numpy
from directory_cases import FAMILIES, LLAMA, SMALL, built, output, read

from zoo import directory, models


@pytest.mark.parametrize("family", FAMILIES)
def test_no_bit_is_lost(family, tmp_path, tokenizer):
    model = built(family)
    given = None if "dense" in family else tokenizer
    generation = directory.GenerationConfig(temperature=0.5, top_k=3, max_new_tokens=9)
    directory.save(tmp_path / "m", model, given, generation)
    loaded = directory.load(tmp_path / "m")
    for mine, other in zip(loaded.model.weights, model.weights, strict=True):
        np.testing.assert_array_equal(mine, other)
    np.testing.assert_array_equal(output(loaded.model, family), output(model, family))
    assert loaded.model.config.dropout == model.config.dropout
    if given is not None:
        assert loaded.generation == generation
        assert loaded.tokenizer.encode("abc def") == given.encode("abc def")
        assert loaded.tokenizer.json == given.json
    # and once more, from what was loaded
    directory.save(tmp_path / "again", loaded.model, loaded.tokenizer, generation)
    for file in sorted(p.name for p in (tmp_path / "m").iterdir()):
        first, second = ((tmp_path / f / file).read_bytes() for f in ("m", "again"))
        assert first == second, file


@pytest.mark.parametrize("family", FAMILIES)
def test_files(family, tmp_path, tokenizer):
    text = "dense" not in family
    directory.save(tmp_path / "m", built(family), tokenizer if text else None)
    files = {"config.json", "model.safetensors", "SHA256SUMS"}
    if text:
        files |= {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}
    assert {p.name for p in (tmp_path / "m").iterdir()} == files
    config = read(tmp_path / "m")
    wanted = family if family.startswith("zoo-") else family.split("-")[0]
    assert config["model_type"] == wanted
    tensors = safetensors.numpy.load_file(tmp_path / "m/model.safetensors")
    assert {t.dtype for t in tensors.values()} == {np.dtype("float32")}
    # what Keras numbers by its process is in no name
    assert not [n for n in tensors if n.startswith(("dense_net", "transformer_lm"))]


def test_gpt2_as_others_read_it(tmp_path):
    model = built("gpt2")
    directory.save(tmp_path / "m", model)
    config = read(tmp_path / "m")
    wanted = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 16}
    wanted |= {"n_inner": 128, "activation_function": "gelu_new"}
    assert wanted.items() <= config.items()
    tensors = safetensors.numpy.load_file(tmp_path / "m/model.safetensors")
    assert tensors["transformer.h.1.attn.c_attn.weight"].shape == (32, 96)  # [in, out]
    assert tensors["transformer.h.0.mlp.c_fc.weight"].shape == (32, 128)
    np.testing.assert_array_equal(
        tensors["transformer.h.0.mlp.c_proj.weight"].T,
        model.blocks[0].mlp.down.weight,
    )
    assert "lm_head.weight" not in tensors


def test_llama_as_others_read_it(tmp_path):
    model = built("llama")
    directory.save(tmp_path / "m", model)
    config = read(tmp_path / "m")
    wanted = {"hidden_size": 32, "num_key_value_heads": 2, "head_dim": 8}
    wanted |= {"intermediate_size": 128, "hidden_act": "silu"}
    assert wanted.items() <= config.items()
    tensors = safetensors.numpy.load_file(tmp_path / "m/model.safetensors")
    layer = "model.layers.1"
    qkv = [tensors[f"{layer}.self_attn.{x}_proj.weight"] for x in "qkv"]
    assert [x.shape for x in qkv] == [(32, 32), (16, 32), (16, 32)]
    block = model.blocks[1]
    np.testing.assert_array_equal(np.concatenate(qkv), block.attention.qkv.weight)
    gate = tensors[f"{layer}.mlp.gate_proj.weight"]  # our gate comes first
    np.testing.assert_array_equal(gate, block.mlp.up.weight[:128])


def test_what_0_stands_for_is_said_in_numbers():
    left = models.build("transformer_lm", **SMALL, heads=4).config
    right = models.build(
        "transformer_lm", **SMALL, heads=4, kv_heads=4, head_width=8, mlp_width=128
    ).config
    assert left != right
    assert directory.fields_of(left) == directory.fields_of(right)


def test_a_full_folder_is_left_alone(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="m: is not empty"):
        directory.save(tmp_path / "m", built("zoo-dense_net"))
    assert [p.name for p in tmp_path.rglob("*")] == ["m", "mine.txt"]


def test_replace_swaps_the_whole(tmp_path, tokenizer):
    directory.save(tmp_path / "m", built("gpt2"), tokenizer)
    directory.save(tmp_path / "m", built("zoo-dense_net"), replace=True)
    names = {p.name for p in (tmp_path / "m").iterdir()}
    assert names == {"SHA256SUMS", "config.json", "model.safetensors"}
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_generation_as_transformers_reads_it():
    cold = directory.GenerationConfig().to_json(7)
    assert cold["do_sample"] is False and "temperature" not in cold
    assert cold["eos_token_id"] == 7
    hot = directory.GenerationConfig(temperature=0.7, top_p=0.9).to_json(7)
    assert hot["do_sample"] is True and hot["temperature"] == 0.7
    for value in (cold, hot):
        again = directory.GenerationConfig.from_json(value, "x")
        assert again.to_json(7) == value
    hf_name = {"do_sample": True, "temperature": None, "transformers_version": "5"}
    assert directory.GenerationConfig.from_json(hf_name, "x").temperature == 1.0


# ---- dropout that a family has no field for ----


def test_dropout_does_not_make_another_family(tmp_path):
    llama = built("llama")
    model = models.build("transformer_lm", **SMALL, **LLAMA, dropout=0.25)
    model.set_weights(llama.get_weights())
    directory.save(tmp_path / "m", model)
    found = directory.read(tmp_path / "m")
    assert found.config["model_type"] == "llama"
    again = directory.load(tmp_path / "m").model
    assert again.config.dropout == 0.25
    np.testing.assert_array_equal(output(again, "llama"), output(llama, "llama"))
