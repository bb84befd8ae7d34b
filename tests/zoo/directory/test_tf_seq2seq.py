"""tf_model.h5 of encoder-decoders gives the same model as model.safetensors.

`families/tf_names.json` has the names in files that transformers 4.12.5 and 4.46.3
saved; `families/make_tf_names.py` made it.
"""

import json
import pathlib

import h5py
import numpy as np
import pytest
import safetensors.numpy

from zoo import directory
from zoo.directory import assemble

FAMILIES = pathlib.Path(__file__).parent / "families"
NAMES = json.loads((FAMILIES / "tf_names.json").read_text())


def write(folder, name, change=lambda file: None):
    """A directory of one model with tf_model.h5 in the place of model.safetensors."""
    folder.mkdir()
    source = FAMILIES / "seq2seq" / name
    config = json.loads((source / "config.json").read_text())
    config["tie_word_embeddings"] = name != "flan_t5"  # as transformers 4 writes it
    (folder / "config.json").write_text(json.dumps(config))
    generation = (source / "generation_config.json").read_text()
    (folder / "generation_config.json").write_text(generation)
    tensors = safetensors.numpy.load_file(source / "model.safetensors")
    with h5py.File(folder / "tf_model.h5", "w") as file:
        for path, tensor in NAMES[name].items():
            value = np.zeros([72, 16], np.float16)  # sines, which are not read
            if tensor is not None:
                value = tensors[tensor.removesuffix(" T")]
                value = value.T if tensor.endswith(" T") else value
            file[path] = value.astype(np.float32)
        change(file)
    return folder


def test_same_model(tmp_path):
    for name in NAMES:
        mine = directory.load(write(tmp_path / name, name)).model
        other = directory.load(FAMILIES / "seq2seq" / name).model
        assert mine.config == other.config
        wanted = assemble.by_path(other)
        for path, value in assemble.by_path(mine).items():
            np.testing.assert_array_equal(value, wanted[path], f"{name}: {path}")


def test_refused(tmp_path):
    def refused(name, message, change):
        folder = write(tmp_path / str(len(list(tmp_path.iterdir()))), name, change)
        with pytest.raises(ValueError, match=message) as error:
            directory.load(folder)
        assert str(error.value).startswith(str(folder))

    def without(file):
        del file["decoder/tft5_for_conditional_generation/decoder/final_layer_norm"]

    def more(file):
        file["model/tf_marian_mt_model/model/encoder/layers.7/fc1/bias:0"] = np.ones(3)

    def differs(file):
        file["decoder/shared/shared/embeddings:0"][0, 0] += 1

    refused("t5", "tensor decoder.final_layer_norm.weight is missing", without)
    refused("marian", "unknown tensors: model.encoder.layers.7.fc1.bias", more)
    refused("flan_t5", "shared.weight and decoder.embed_tokens.weight.*differ", differs)
