"""Exported models of every family, each made once for all workers of a test run."""

import fcntl
import os
import pathlib
from typing import Any, NamedTuple

import pytest

CONTEXT, CAPACITY, BATCH = 64, 24, 4
_SMALL = {"context": CONTEXT, "width": 32, "layers": 1}
_COLD = {"max_new_tokens": 6}
_HOT = {
    "max_new_tokens": 12,
    "temperature": 0.8,
    "top_k": 40,
    "repetition_penalty": 1.1,
    "seed": 5,
    "stop": ("never there", "e"),
}
# family -> fields of its Config, of its GenerationConfig, options of export, and, since
# each costs seconds, its signatures; the tokenizer has 300 tokens, and a model may
# have ids beyond those
_MODELS = {
    "transformer_lm": (
        {"vocab_size": 300, "heads": 2},
        _COLD,
        {"capacity": CAPACITY},
        "serving_default generate score embed tokenize detokenize start step",
    ),
    "lstm_lm": (
        {"vocab_size": 320, "units": 32},
        _COLD,
        {"batch": BATCH},
        "generate score embed start step",
    ),
    "gru_lm": (
        {"vocab_size": 320, "units": 24},
        _HOT,
        {},
        "serving_default generate",
    ),
    "rnn_lm": ({"vocab_size": 300, "units": 24}, _COLD, {}, "generate"),
}


class Served(NamedTuple):
    """A model directory and what `zoo.export` made of it.

    Attributes:
      source: the model directory.
      folder: the version.
      loaded: what `zoo.load` gives.
      session: a c_api.Session.
    """

    source: pathlib.Path
    folder: pathlib.Path
    loaded: Any
    session: Any

    def run(self, signature, **inputs):
        """The outputs as nested lists."""
        outputs = self.session.run(signature, inputs)
        return {name: value.tolist() for name, value in outputs.items()}


@pytest.fixture(scope="session")
def served(tmp_path_factory, tokenizer):
    """`served(family) -> Served`; recurrent ones have a few of the signatures."""
    import zoo
    from zoo.saved_model.checker import c_api

    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # of all workers
        root.mkdir(exist_ok=True)
    found = {}

    def get(family):
        if family not in found:
            source, base = root / f"{family}.model", root / f"{family}.served"
            with open(root / f"{family}.lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not base.exists():
                    _make(family, tokenizer, source, base)
            session = c_api.Session(str(base / "1"))
            found[family] = Served(source, base / "1", zoo.load(source), session)
        return found[family]

    yield get
    for one in found.values():
        one.session.close()


@pytest.fixture(scope="session")
def plain(served):
    """A transformer with every signature, without batching."""
    return served("transformer_lm")


@pytest.fixture(scope="session")
def batched(served):
    """An LSTM that merges calls into batches of four."""
    return served("lstm_lm")


@pytest.fixture(scope="session")
def write_some():
    """`write_some(base, loaded, "chat generate") -> folder`: a part of an export."""
    return _write


def _make(family, tokenizer, source, base):
    import tensorflow as tf

    import zoo
    from zoo.directory import GenerationConfig

    fields, knobs, options, names = _MODELS[family]
    model = zoo.build(family, **_SMALL, **fields)
    for i, weight in enumerate(model.weights):  # far from uniform: choices are clear
        noise = tf.random.stateless_normal(weight.shape, [i, 3], stddev=0.3)
        weight.assign(noise + (1.0 if weight.path.endswith("scale") else 0.0))
    zoo.save(source, model, tokenizer, GenerationConfig(**knobs))
    _write(base, zoo.load(source), names, **options)


def _write(base, loaded, names, **options):
    from zoo.saved_model import serving_files, writer
    from zoo.saved_model.signatures.classifier import Classifier
    from zoo.saved_model.signatures.fill_mask import FillMask
    from zoo.saved_model.signatures.language_model import TextGenerator
    from zoo.saved_model.signatures.tagger import Tagger
    from zoo.saved_model.signatures.text_encoder import TextEncoderModule

    def some(whole):
        def signatures(module):
            parts = whole(module)
            return {name: parts[name] for name in names.split()}

        return signatures

    with pytest.MonkeyPatch.context() as patch:
        # calling every signature takes as long as the rest, and has tests of its own
        patch.setattr(serving_files, "write", lambda *args, **options: None)
        every = Classifier, FillMask, Tagger, TextGenerator, TextEncoderModule
        for module in every:
            patch.setattr(module, "signatures", some(module.signatures))
        return writer.write(base, loaded, **options)
