"""What becomes of a config and tensors: one model, whatever file they came from."""

import dataclasses
import json

import keras
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from zoo import directory, models
from zoo.directory import assemble as assembling
from zoo.directory import safetensors_file, uninitialized
from zoo.directory.assemble import assemble
from zoo.directory.pretrained import Pretrained, Tensors

GPT2 = {"vocab_size": 300, "context": 16, "width": 32, "layers": 2, "heads": 4}
LLAMA = {
    **GPT2,
    "kv_heads": 2,
    "norm": "rmsnorm",
    "positions": "rotary",
    "activation": "silu",
    "gated": True,
    "qkv_bias": False,
    "out_bias": False,
    "mlp_bias": False,
    "tied_head": False,
}
FAMILIES = {"gpt2": GPT2, "llama": LLAMA, "tied": {**LLAMA, "tied_head": True}}
TOKENS = tf.random.stateless_uniform([2, 9], [1, 2], 0, 300, tf.int32)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The config and the tensors of a directory of each family."""
    found = {}
    for name, fields in FAMILIES.items():
        folder = tmp_path_factory.mktemp(name) / "m"
        model = models.build("transformer_lm", **fields)
        for i, v in enumerate(model.weights):
            v.assign(v + tf.random.stateless_normal(v.shape, [i, 3], stddev=0.3))
        directory.save(folder, model)
        config = json.loads((folder / "config.json").read_text())
        tensors = safetensors.numpy.load_file(folder / safetensors_file.FILE)
        found[name] = model, config, tensors
    return found


def loaded(config, tensors, tokenizer=None):
    given = Pretrained("here", config, tensors, tokenizer, directory.GenerationConfig())
    return assemble(given)


def logits(model):
    return model(TOKENS).numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_model(family, saved):
    model, config, tensors = saved[family]
    result = loaded(config, tensors)
    np.testing.assert_array_equal(logits(result.model), logits(model))
    assert (
        result.tokenizer is None and result.generation == directory.GenerationConfig()
    )


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_widened(kind, saved):
    _, config, tensors = saved["llama"]
    half = {name: tensor.astype(kind) for name, tensor in tensors.items()}
    wide = {name: tensor.astype(np.float32) for name, tensor in half.items()}
    mixed = {n: (half if i % 2 else wide)[n] for i, n in enumerate(half)}
    wanted = logits(loaded(config, wide).model)
    for given in (half, mixed):
        model = loaded(config, given).model
        assert {v.dtype for v in model.weights} == {"float32"}
        np.testing.assert_array_equal(logits(model), wanted)


def test_names_without_the_prefix_and_masks_of_old_files(saved):
    model, config, tensors = saved["gpt2"]
    old = {name.removeprefix("transformer."): t for name, t in tensors.items()}
    for i in range(2):
        old[f"h.{i}.attn.bias"] = np.tril(np.ones((1, 1, 16, 16), np.uint8))
        old[f"h.{i}.attn.masked_bias"] = np.float32(-1e4).reshape(())
    np.testing.assert_array_equal(logits(loaded(config, old).model), logits(model))
    _, config, tensors = saved["llama"]
    old = {name.removeprefix("model."): t for name, t in tensors.items()}
    old["layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(4, np.float32)
    np.testing.assert_array_equal(
        logits(loaded(config, old).model), logits(saved["llama"][0])
    )


def test_a_name_with_and_without_the_prefix_is_refused(saved):
    _, config, tensors = saved["gpt2"]
    both = tensors | {"wpe.weight": tensors["transformer.wpe.weight"]}
    with pytest.raises(ValueError, match="here: the tensors .* are the same one"):
        loaded(config, both)


def test_a_stored_tied_head(saved):
    model, config, tensors = saved["tied"]
    table = tensors["model.embed_tokens.weight"]
    same = tensors | {"lm_head.weight": table}
    np.testing.assert_array_equal(logits(loaded(config, same).model), logits(model))
    other = table.copy()
    other[-1, -1] += 1
    with pytest.raises(
        ValueError, match="ties the tensors .*tokens.* and lm_head.* diff"
    ):
        loaded(config, tensors | {"lm_head.weight": other})


# ---- what is looked at, and when ----


class Reads:
    """Tensors that note what is read."""

    def __init__(self, tensors):
        self.tensors, self.names = tensors, []

    def given(self, **changes):
        shapes = {n: t.shape for n, t in self.tensors.items()} | changes
        return Tensors(shapes, self.read)

    def read(self, name):
        self.names.append(name)
        return self.tensors[name]


def test_each_tensor_is_read_once(saved):
    _, config, tensors = saved["llama"]
    reads = Reads(tensors)
    loaded(config, reads.given())
    assert sorted(reads.names) == sorted(tensors)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"lm_head.weight": (300, 33)}, r"shape \(300, 33\), expected \(300, 32\)"),
        ({"lm_head.weight": (300,)}, r"has shape \(300,\)"),
        ({"lm_head.weight": ()}, r"has shape \(\)"),
        ({"more": (3,), "much": (3,)}, "unknown tensors: more, much"),
    ],
    ids=str,
)
def test_names_and_shapes_come_before_all_reading(change, words, saved, monkeypatch):
    _, config, tensors = saved["llama"]
    monkeypatch.setattr(uninitialized, "initialise", None)  # no weight is made
    reads = Reads(tensors)
    with pytest.raises(ValueError, match=f"here: .*{words}"):
        loaded(config, reads.given(**change))
    assert not reads.names


def test_a_missing_tensor(saved):
    _, config, tensors = saved["llama"]
    few = {n: t for n, t in tensors.items() if n != "model.norm.weight"}
    with pytest.raises(ValueError, match="here: the tensor model.norm.weight is miss"):
        loaded(config, few)


@pytest.mark.parametrize("kind", [np.int8, np.float64, ml_dtypes.float8_e4m3fn])
def test_other_numbers_are_refused(kind, saved):
    _, config, tensors = saved["llama"]
    other = tensors | {"lm_head.weight": tensors["lm_head.weight"].astype(kind)}
    with pytest.raises(ValueError, match="lm_head.weight is of .*float16 or bfloat16"):
        loaded(config, other)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["v_proj", "k_proj", "down_proj", "norm"])
def test_what_is_not_finite_is_found_and_named(value, name, saved):
    _, config, tensors = saved["llama"]
    full = next(n for n in tensors if name in n)
    tensors = tensors | {full: tensors[full].copy()}
    tensors[full].flat[-1] = value
    with pytest.raises(ValueError, match=f"here: the tensor {full} has NaN or Inf"):
        loaded(config, tensors)


def test_a_sum_may_overflow(saved, monkeypatch):
    monkeypatch.setattr(assembling, "_CHUNK", 64)  # several chunks a tensor
    _, config, tensors = saved["llama"]
    large = {n: np.full_like(t, 3e38) for n, t in tensors.items()}
    model = loaded(config, large).model
    assert all(np.all(np.asarray(v) == np.float32(3e38)) for v in model.weights)


def test_chunks_of_any_size_give_the_same_logits(saved, monkeypatch):
    for size in (7, 100):
        monkeypatch.setattr(assembling, "_CHUNK", size)
        monkeypatch.setattr(assembling, "_RELEASE_AFTER", size)
        for model, config, tensors in saved.values():
            np.testing.assert_array_equal(
                logits(loaded(config, tensors).model), logits(model)
            )


# ---- the model ----


def test_no_initial_weight_is_drawn(saved, monkeypatch):
    def draw(*args, **kwargs):
        raise AssertionError("an initial weight was drawn")

    monkeypatch.setattr(keras.initializers.RandomNormal, "__call__", draw)
    for _, config, tensors in saved.values():
        loaded(config, tensors)


@pytest.mark.parametrize("good", [True, False])
def test_keras_does_not_make_the_weights_again(good, saved):
    _, config, tensors = saved["llama"]
    if good:
        model = loaded(config, tensors).model
        before = logits(model)
    else:
        with pytest.raises(ValueError, match="1000000000000"):
            loaded(config | {"vocab_size": 10**12}, tensors)
    with keras.StatelessScope():  # at its end Keras makes what is left to make
        pass
    if good:
        np.testing.assert_array_equal(logits(model), before)


def test_the_model_learns_like_any_other(saved):
    _, config, tensors = saved["gpt2"]
    config = config | {"resid_pdrop": 0.5, "embd_pdrop": 0.5}
    model = loaded(config, {n: t.copy() for n, t in tensors.items()}).model
    states = [v for v in model.variables if v.path.endswith("seed_generator_state")]
    assert states and all(len(np.asarray(v)) == 2 for v in states)
    copies = [v.numpy().copy() for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(TOKENS, training=True) ** 2)
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    gradients = [tf.convert_to_tensor(g) for g in gradients]
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.apply(gradients, model.trainable_variables)
    for v, old, g in zip(model.trainable_variables, copies, gradients, strict=True):
        np.testing.assert_allclose(v, old - 0.1 * g, rtol=1e-5, atol=1e-6)
    # and nothing of what it was read from has changed
    again = loaded(config, tensors).model
    for v, old in zip(again.trainable_variables, copies, strict=True):
        np.testing.assert_array_equal(v, old)


def test_the_policy_is_set_back_after_an_error(saved, float32):
    _, config, tensors = saved["llama"]
    keras.config.set_dtype_policy("mixed_bfloat16")
    with pytest.raises(ValueError):
        loaded(config, {})
    with pytest.raises(ValueError):
        loaded(config | {"vocab_size": 301}, tensors)
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
    model = loaded(config, tensors).model
    assert model.embedding.compute_dtype == "float32"


def test_a_tokenizer_that_is_read_late(saved, tokenizer):
    _, config, tensors = saved["llama"]
    assert loaded(config, tensors, lambda: tokenizer).tokenizer is tokenizer


def test_the_dropout_and_the_policy_of_a_run(saved):
    """`init_from` fills the model of a Run, without a second model in between."""
    model, config, tensors = saved["llama"]
    given = Pretrained("here", config, tensors, None, directory.GenerationConfig())
    chosen = dataclasses.replace(model.config, dropout=0.5)
    found = assemble(given, chosen, "mixed_bfloat16").model
    assert found.config == chosen and found.compute_dtype == "bfloat16"
    assert found.embedding.compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"
    for mine, other in zip(found.weights, model.weights, strict=True):
        assert mine.dtype == "float32"
        np.testing.assert_array_equal(mine, other)
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        found = assemble(given, chosen).model
    np.testing.assert_array_equal(logits(found), logits(model))
    other = dataclasses.replace(chosen, layers=3)
    with pytest.raises(ValueError, match="here: num_hidden_layers 3; 2 allowed"):
        assemble(given, other)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_memory_at_the_peak(kind, commands, tmp_path):
    """At most 1.2 of the float32 weights, half of which are one table."""
    fields = {"vocab_size": 80_000, "width": 512, "layers": 12, "heads": 8}
    model = models.build("transformer_lm", **{**LLAMA, **fields, "tied_head": True})
    directory.save(tmp_path / "m", model)
    if kind == "bfloat16":
        tensors = safetensors_file.read(tmp_path / "m")
        half = {name: tensors[name].astype(ml_dtypes.bfloat16) for name in tensors}
        safetensors.numpy.save_file(half, tmp_path / "m" / safetensors_file.FILE)
        (tmp_path / "m/SHA256SUMS").unlink()
    (tmp_path / "peak.py").write_text(
        "import resource, sys\n"
        "from zoo import directory\n"
        "def peak():\n"
        "    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "directory.load(sys.argv[1])\n"
        "print(peak() - before)\n"
    )
    done = commands(tmp_path / "peak.py", tmp_path / "m")
    size = sum(4 * np.prod(v.shape) for v in model.weights)
    assert done.code == 0 and size > 300e6, done.out
    assert int(done.out.splitlines()[-1]) < 1.2 * size
