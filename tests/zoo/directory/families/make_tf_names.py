"""Makes tf_names.json: the names in the tf_model.h5 of TensorFlow's encoder-decoders.

    python3 -m venv /tmp/peers
    /tmp/peers/bin/pip install torch tensorflow==2.21.0 tf_keras==2.21.0 \\
        transformers==4.46.3  # and once more with transformers==4.12.5
    TF_USE_LEGACY_KERAS=1 /tmp/peers/bin/python \\
        tests/zoo/directory/families/make_tf_names.py

transformers 4.12.5 asks for older versions of other packages; its check of versions,
`dependency_versions_check.py`, was switched off.

The script sets the weights of a TensorFlow model from a PyTorch file of `seq2seq` and
saves it. Each array of the tf_model.h5 is then found in the PyTorch file by its values.
The result has, for each model, the path of an array in the h5 file and the name of the
PyTorch tensor with these values, with " T" behind it where the array is transposed.
The name is null where no tensor has these values: the sines of Marian's positions.
"""

import json
import pathlib
import tempfile

import h5py
import numpy as np
import torch
import transformers
from safetensors.numpy import load_file
from transformers import modeling_tf_pytorch_utils

HERE = pathlib.Path(__file__).parent
VERSIONS = {
    "4.12.5": {
        "t5": "TFT5ForConditionalGeneration",
        "bart": "TFBartForConditionalGeneration",
    },
    "4.46.3": {
        "flan_t5": "TFT5ForConditionalGeneration",
        "marian": "TFMarianMTModel",
    },
}


def names(name, kind):
    """The names in the tf_model.h5 of one model."""
    config = json.loads((HERE / "seq2seq" / name / "config.json").read_text())
    # transformers 4 ties a head unless config.json says that it does not
    config["tie_word_embeddings"] = name != "flan_t5"
    config.setdefault("decoder_start_token_id", 2)
    model = getattr(transformers, kind)
    model = model(model.config_class.from_dict(config))
    model(model.dummy_inputs)
    tensors = load_file(HERE / "seq2seq" / name / "model.safetensors")
    tensors = {path: value.astype(np.float32) for path, value in tensors.items()}
    modeling_tf_pytorch_utils.load_pytorch_weights_in_tf2_model(
        model,
        {path: torch.from_numpy(value) for path, value in tensors.items()},
        allow_missing_keys=True,
    )
    found = {}

    def visit(path, array):
        if isinstance(array, h5py.Dataset):
            same = [t for t, x in tensors.items() if np.array_equal(x, array)]
            turned = [t for t, x in tensors.items() if np.array_equal(x.T, array)]
            other = f"{turned[0]} T" if turned else None
            found[path] = same[0] if same else other

    with tempfile.TemporaryDirectory() as folder:
        model.save_weights(f"{folder}/tf_model.h5")
        with h5py.File(f"{folder}/tf_model.h5") as file:
            file.visititems(visit)
    return found


if __name__ == "__main__":
    path = HERE / "tf_names.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    for name, kind in VERSIONS[transformers.__version__].items():
        known[name] = names(name, kind)
        print(name, len(known[name]))
    path.write_text(json.dumps(known, indent=1) + "\n")
