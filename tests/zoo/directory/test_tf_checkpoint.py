"""Files as transformers, GPT-2's authors and Keras wrote them, and hostile ones."""

import json
import pathlib
import zipfile

import h5py
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo import directory
from zoo.directory import assemble

GPT2 = {"model_type": "gpt2", "vocab_size": 40, "n_positions": 16, "n_embd": 8}
GPT2 |= {"n_layer": 2, "n_head": 2, "n_inner": 12, "eos_token_id": None}
BERT = {"model_type": "bert", "vocab_size": 40, "hidden_size": 8}
BERT |= {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
BERT |= {"max_position_embeddings": 16, "type_vocab_size": 2}
SMALL = {"vocab_size": 40, "context": 16, "width": 8, "layers": 2, "heads": 2}


# of Keras 3.15, which saves a variable so that numpy 2.4 complains
KERAS = pytest.mark.filterwarnings("ignore:__array__ implementation")


def arrays(*shapes):
    """Random arrays by name."""
    random = np.random.default_rng(0)
    return {n: random.normal(size=s).astype(np.float32) for n, s in shapes}


def write_json(path, value):
    path.write_text(json.dumps(value))


# ------------------------------------------------------------------ tf_model.h5


def write_h5(folder, config, layers, prefix):
    """As transformers 4: a group a layer, in it names that begin with the model's."""
    folder.mkdir(exist_ok=True)
    write_json(folder / "config.json", config)
    with h5py.File(folder / "tf_model.h5", "w") as file:
        file.attrs["backend"] = b"tensorflow"
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for layer, values in layers.items():
            names = [f"{prefix}{name}:0" for name in values]
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, value in zip(names, values.values(), strict=True):
                group[name] = value


def gpt2_h5():
    blocks = [
        (f"transformer/h_._{i}/{name}", shape)
        for i in range(2)
        for name, shape in (
            ("ln_1/gamma", [8]),
            ("ln_1/beta", [8]),
            ("attn/c_attn/weight", [8, 24]),
            ("attn/c_attn/bias", [1, 24]),
            ("attn/c_proj/weight", [8, 8]),
            ("attn/c_proj/bias", [1, 8]),
            ("ln_2/gamma", [8]),
            ("ln_2/beta", [8]),
            ("mlp/c_fc/weight", [8, 12]),
            ("mlp/c_fc/bias", [1, 12]),
            ("mlp/c_proj/weight", [12, 8]),
            ("mlp/c_proj/bias", [1, 8]),
        )
    ]
    outer = [("transformer/wte/weight", [40, 8])]
    outer += [("transformer/wpe/embeddings", [16, 8])]
    outer += [("transformer/ln_f/gamma", [8]), ("transformer/ln_f/beta", [8])]
    return arrays(*outer, *blocks)


@pytest.mark.parametrize("prefix", ["tfgp_t2lm_head_model/", ""])
def test_gpt2_of_transformers(prefix, tmp_path):
    values = gpt2_h5()
    write_h5(tmp_path, GPT2, {"transformer": values}, prefix)
    found = directory.read(tmp_path).tensors
    for hf_name, ours in (
        ("transformer/wte/weight", "wte.weight"),
        ("transformer/wpe/embeddings", "wpe.weight"),
        ("transformer/h_._1/attn/c_attn/weight", "h.1.attn.c_attn.weight"),
        ("transformer/h_._0/ln_2/gamma", "h.0.ln_2.weight"),
        ("transformer/h_._0/ln_2/beta", "h.0.ln_2.bias"),
    ):
        np.testing.assert_array_equal(found[f"transformer.{ours}"], values[hf_name])
    bias = values["transformer/h_._1/mlp/c_fc/bias"]
    np.testing.assert_array_equal(found["transformer.h.1.mlp.c_fc.bias"], bias[0])
    model = directory.load(tmp_path).model
    weights = assemble.by_path(model)
    matrix = values["transformer/h_._1/mlp/c_proj/weight"]
    np.testing.assert_array_equal(weights["block_1/mlp/down/weight"], matrix.T)


def test_bert_of_transformers(tmp_path):
    layer = [
        (f"bert/encoder/layer_._{i}/{name}", shape)
        for i in range(2)
        for name, shape in (
            *(
                (f"attention/self/{x}/kernel", [8, 8])
                for x in ("query", "key", "value")
            ),
            *((f"attention/self/{x}/bias", [8]) for x in ("query", "key", "value")),
            ("attention/output/dense/kernel", [8, 8]),
            ("attention/output/dense/bias", [8]),
            ("attention/output/LayerNorm/gamma", [8]),
            ("attention/output/LayerNorm/beta", [8]),
            ("intermediate/dense/kernel", [8, 12]),
            ("intermediate/dense/bias", [12]),
            ("output/dense/kernel", [12, 8]),
            ("output/dense/bias", [8]),
            ("output/LayerNorm/gamma", [8]),
            ("output/LayerNorm/beta", [8]),
        )
    ]
    values = arrays(
        ("bert/embeddings/word_embeddings/weight", [40, 8]),
        ("bert/embeddings/position_embeddings/embeddings", [16, 8]),
        ("bert/embeddings/token_type_embeddings/embeddings", [2, 8]),
        ("bert/embeddings/LayerNorm/gamma", [8]),
        ("bert/embeddings/LayerNorm/beta", [8]),
        ("bert/pooler/dense/kernel", [8, 8]),
        ("bert/pooler/dense/bias", [8]),
        *layer,
    )
    heads = arrays(("mlm___cls/predictions/bias", [40]))
    layers = {"bert": values, "mlm___cls": heads}
    write_h5(tmp_path, BERT, layers, "tf_bert_for_pre_training/")
    weights = assemble.by_path(directory.load(tmp_path).model)
    up = values["bert/encoder/layer_._1/intermediate/dense/kernel"]
    np.testing.assert_array_equal(weights["block_1/mlp/up/weight"], up.T)
    types = values["bert/embeddings/token_type_embeddings/embeddings"]
    np.testing.assert_array_equal(weights["type_embedding/weight"], types)
    key = values["bert/encoder/layer_._0/attention/self/key/kernel"]
    np.testing.assert_array_equal(weights["block_0/attention/qkv/weight"][8:16], key.T)


def test_h5_files_that_are_refused(tmp_path):
    values = gpt2_h5()

    def refused(message, change=lambda file: None, config=GPT2, load=directory.read):
        # a folder of its own: pytest keeps what failed, and so the file open
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        write_h5(folder, config, {"transformer": values}, "m/")
        with h5py.File(folder / "tf_model.h5", "a") as file:
            change(file)
        with pytest.raises(ValueError, match=message) as error:
            load(folder)
        assert str(error.value).startswith(str(folder))

    def link(file):
        file["transformer/x"] = h5py.ExternalLink("/etc/passwd", "/")

    def loop(file):
        file["transformer/again"] = file["transformer"]

    def bomb(file):
        file.create_dataset("transformer/zeros", [2**40], "f4", chunks=(2**20,))

    def elsewhere(file):
        external = [("/etc/passwd", 0, 32)]
        file.create_dataset("transformer/x", [8], "f4", external=external)

    def twice(file):
        file["more/transformer/wte/weight:0"] = values["transformer/wte/weight"]

    refused("is a link", link)
    refused("is in itself", loop)
    refused("says it holds", bomb)
    refused("points to other files", elsewhere)
    refused("is in the file twice", twice)
    refused(
        "'llama'; allowed with tf_model.h5: gpt2, bert",
        config={**GPT2, **BERT} | {"model_type": "llama"},
    )
    refused(
        "unknown tensors: transformer.x",
        load=directory.load,
        change=lambda file: file.create_dataset("transformer/x", data=np.ones(3)),
    )
    write_h5(tmp_path, GPT2, {"transformer": values}, "m/")
    path = tmp_path / "tf_model.h5"
    text = path.read_bytes()
    for cut in (0, 9, len(text) // 2):
        path.write_bytes(text[:cut])
        with pytest.raises(ValueError, match="tf_model.h5: "):
            directory.load(tmp_path)


# ------------------------------------------------------------------ GPT-2's own


HPARAMS = {"n_vocab": 40, "n_ctx": 16, "n_embd": 8, "n_head": 2, "n_layer": 2}


def write_first(folder, **more):
    """As GPT-2's authors: variables with the names of their code."""
    blocks = [
        (f"h{i}/{name}", shape)
        for i in range(2)
        for name, shape in (
            ("ln_1/g", [8]),
            ("ln_1/b", [8]),
            ("attn/c_attn/w", [1, 8, 24]),
            ("attn/c_attn/b", [24]),
            ("attn/c_proj/w", [1, 8, 8]),
            ("attn/c_proj/b", [8]),
            ("ln_2/g", [8]),
            ("ln_2/b", [8]),
            ("mlp/c_fc/w", [1, 8, 32]),
            ("mlp/c_fc/b", [32]),
            ("mlp/c_proj/w", [1, 32, 8]),
            ("mlp/c_proj/b", [8]),
        )
    ]
    outer = [("wte", [40, 8]), ("wpe", [16, 8]), ("ln_f/g", [8]), ("ln_f/b", [8])]
    values = {f"model/{n}": v for n, v in arrays(*outer, *blocks).items()} | more
    tf.raw_ops.SaveV2(
        prefix=str(folder / "model.ckpt"),
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=[tf.constant(value) for value in values.values()],
    )
    write_json(folder / "hparams.json", HPARAMS)
    letters = ["<|endoftext|>", "t", "h", "e", "Ġ", "th", "the", "Ġthe"]
    table = {token: number for number, token in enumerate(letters)}
    write_json(folder / "encoder.json", table)
    (folder / "vocab.bpe").write_text("#version: 0.2\nt h\nth e\nĠ the\n")
    return values


def test_gpt2_of_its_authors(tmp_path):
    slot = {"model/wte/Adam": np.zeros([40, 8], np.float32), "step": np.int64(3)}
    values = write_first(tmp_path, **slot)
    model, tokenizer, _ = directory.load(tmp_path)
    assert tokenizer.encode("the the") == [6, 7]
    assert tokenizer.end_token == "<|endoftext|>"
    weights = assemble.by_path(model)
    assert len(weights) == len(values) - len(slot)
    for hf_name, ours in (
        ("h1/attn/c_attn/w", "block_1/attention/qkv/weight"),
        ("h0/mlp/c_proj/w", "block_0/mlp/down/weight"),
    ):
        np.testing.assert_array_equal(weights[ours], values[f"model/{hf_name}"][0].T)
    np.testing.assert_array_equal(weights["norm/scale"], values["model/ln_f/g"])
    directory.save(tmp_path / "model", *directory.load(tmp_path))
    again = assemble.by_path(directory.load(tmp_path / "model").model)
    for name, value in weights.items():
        np.testing.assert_array_equal(again[name], value)


def test_first_files_that_are_refused(tmp_path):
    def refused(message):
        with pytest.raises(ValueError, match=message) as error:
            directory.load(tmp_path)
        assert str(error.value).startswith(str(tmp_path))

    write_json(tmp_path / "hparams.json", HPARAMS)
    refused("0 files")
    write_first(tmp_path, **{"model/strange": np.ones(3, np.float32)})
    refused("model/strange does not belong to GPT-2")
    write_first(tmp_path)
    write_json(tmp_path / "hparams.json", HPARAMS | {"n_embd": "8"})
    refused("n_embd '8', 1 or more allowed")
    write_json(tmp_path / "hparams.json", HPARAMS | {"n_layer": 3})
    refused("h.2.* is missing")
    write_json(tmp_path / "hparams.json", HPARAMS)
    (tmp_path / "encoder.json").write_text("{}")
    refused("encoder.json: ")
    data = next(tmp_path.glob("model.ckpt.data*"))
    data.write_bytes(data.read_bytes()[:1000])
    refused("holds 1000 bytes of data")
    index = tmp_path / "model.ckpt.index"
    index.write_bytes(index.read_bytes()[:100])
    refused("cannot be read as a checkpoint")


# ------------------------------------------------------------------ Keras


@KERAS
@pytest.mark.parametrize("name", ["transformer_lm", "lstm_lm"])
def test_keras_files(name, tmp_path):
    fields = SMALL if name == "transformer_lm" else {"vocab_size": 40, "width": 8}
    fields = fields | ({"units": 8} if name == "lstm_lm" else {})
    model = zoo.build(name, **fields)
    model.save(tmp_path / "model.keras")
    loaded = directory.load(tmp_path / "model.keras")
    assert loaded.model.config == model.config and loaded.tokenizer is None
    wanted = assemble.by_path(model)
    for path, value in assemble.by_path(loaded.model).items():
        np.testing.assert_array_equal(value, wanted[path], path)


@KERAS
def test_keras_weights_beside_a_config(tmp_path):
    model = zoo.build("transformer_lm", **SMALL)
    write_json(tmp_path / "config.json", directory.fields_of(model.config))
    model.save_weights(tmp_path / "best.weights.h5")
    loaded = directory.load(tmp_path / "best.weights.h5").model
    tokens = tf.constant([[1, 2, 3]])
    np.testing.assert_array_equal(loaded(tokens), model(tokens))
    other = directory.fields_of(model.config) | {"n_layer": 3}
    write_json(tmp_path / "config.json", other)
    with pytest.raises(ValueError, match="best.weights.h5: does not fit its model"):
        directory.load(tmp_path / "best.weights.h5")
    write_json(tmp_path / "config.json", other | {"vocab_size": 10**9})
    with pytest.raises(ValueError, match="but the model has"):
        directory.load(tmp_path / "best.weights.h5")


def test_keras_files_that_are_refused(tmp_path):
    path = tmp_path / "model.keras"

    def refused(message, config, weights=b"", compression=zipfile.ZIP_STORED):
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("config.json", config)
            archive.writestr("model.weights.h5", weights)
        with pytest.raises(ValueError, match=message) as error:
            directory.read(path)
        assert str(error.value).startswith(str(path))

    mine = {"config": {"config": {"name": "transformer_lm", **SMALL}}}
    strange = {"module": "keras", "class_name": "Lambda", "config": {"function": "x"}}
    refused("holds a 'Lambda', a model of the registry allowed", json.dumps(strange))
    refused("cannot be read as a .keras file", "{")
    refused("cannot be read as HDF5", json.dumps(mine), b"x" * 100)
    squeezed = zipfile.ZIP_DEFLATED
    refused("at most", json.dumps(mine), bytes(10**6), squeezed)
    path.write_bytes(b"PK\3\4" + bytes(50))
    with pytest.raises(ValueError, match="cannot be read as a .keras file"):
        directory.read(pathlib.Path(path))
