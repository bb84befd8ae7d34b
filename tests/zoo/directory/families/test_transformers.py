"""Models that the zoo writes, as transformers reads them: the same logits.

Run by hand, where torch and transformers are: -m long.
"""

import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from zoo import directory, models
from zoo.models.transformer_lm import Config

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SEQ2SEQ = pathlib.Path(__file__).parent / "seq2seq"
SIZES = {"vocab_size": 50, "context": 160, "width": 32, "layers": 3, "heads": 4}
GPT2 = Config(**SIZES)
LLAMA = dataclasses.replace(
    GPT2,
    kv_heads=2,
    mlp_width=40,
    norm="rmsnorm",
    positions="rotary",
    rope_theta=500.0,
    activation="silu",
    gated=True,
    qkv_bias=False,
    out_bias=False,
    mlp_bias=False,
    tied_head=False,
)
GEMMA = dataclasses.replace(
    LLAMA,
    head_width=12,
    scaled_embedding=True,
    norm="rmsnorm_1p",
    norm_place="both",
    activation="gelu_tanh",
    query_scalar=7,
    tied_head=True,
)
NEOX = dataclasses.replace(
    GPT2,
    positions="rotary",
    rope_theta=500.0,
    rotary_fraction=0.5,
    residual="parallel",
    activation="gelu",
    tied_head=False,
)
PHI = dataclasses.replace(NEOX, residual="parallel_shared", head_bias=True)
OPT = dataclasses.replace(GPT2, position_offset=2, activation="relu")
LINEAR = {"rope_scaling": "linear", "rope_factor": 3.0}
BEFORE = {"rope_factor": 4.0, "rope_context": 40}
LLAMA3 = {"rope_scaling": "llama3", "rope_slow": 1.0, "rope_fast": 4.0, **BEFORE}
YARN = {"rope_scaling": "yarn", "rope_fast": 12.0, "rope_slow": 0.7, **BEFORE}
WINDOW = {"window": 9, "global_layers": (1,)}

CASES = {
    "gpt2": [GPT2, dataclasses.replace(GPT2, tied_head=False, activation="relu")],
    "llama": [
        LLAMA,
        dataclasses.replace(LLAMA, tied_head=True, head_width=12, **LINEAR),
        dataclasses.replace(LLAMA, mlp_bias=True, **LLAMA3),
        dataclasses.replace(LLAMA, qkv_bias=True, out_bias=True, **YARN),
        dataclasses.replace(LLAMA, rope_magnitude=0.8, **YARN),
    ],
    "mistral": [dataclasses.replace(LLAMA, window=9, head_width=6, **YARN)],
    "qwen2": [
        dataclasses.replace(LLAMA, qkv_bias=True, **YARN),
        dataclasses.replace(LLAMA, qkv_bias=True, head_width=12, **WINDOW),
    ],
    "qwen3": [
        dataclasses.replace(LLAMA, qk_norm=True, head_width=12, **LLAMA3),
        dataclasses.replace(LLAMA, qk_norm=True, head_width=12, **WINDOW),
        dataclasses.replace(LLAMA, qk_norm=True, qkv_bias=True, out_bias=True),
    ],
    "gemma2": [
        GEMMA,
        dataclasses.replace(GEMMA, **WINDOW, attention_softcap=2.0, logit_softcap=5.0),
        dataclasses.replace(GEMMA, qkv_bias=True, out_bias=True, **LLAMA3),
    ],
    "gemma3_text": [
        dataclasses.replace(GEMMA, qk_norm=True),
        dataclasses.replace(
            GEMMA, qk_norm=True, rope_local_theta=50.0, **WINDOW, **LINEAR
        ),
        dataclasses.replace(
            GEMMA, qk_norm=True, rope_local_theta=50.0, window=9, logit_softcap=5.0
        ),
        dataclasses.replace(
            GEMMA, qk_norm=True, rope_local_theta=50.0, **WINDOW, **LLAMA3
        ),
    ],
    "gpt_neox": [
        NEOX,
        dataclasses.replace(NEOX, residual="sequential", rotary_fraction=1.0),
        dataclasses.replace(NEOX, qkv_bias=False, out_bias=False, **YARN),
    ],
    "opt": [
        OPT,
        dataclasses.replace(OPT, qkv_bias=False, out_bias=False, mlp_bias=False),
    ],
    "phi": [PHI, dataclasses.replace(PHI, kv_heads=2, qk_norm=True, **LINEAR)],
}


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "family, config",
    [(family, config) for family, configs in CASES.items() for config in configs],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_transformers_reads_it_unchanged(family, config, tmp_path, record_property):
    model = models.build("transformer_lm", **dataclasses.asdict(config))
    for i, v in enumerate(model.trainable_weights):
        noise = tf.random.stateless_normal(v.shape, [i, 7], stddev=0.3)
        v.assign(tf.convert_to_tensor(v.value) + noise)
    directory.save(tmp_path / "m", model)
    hf_name, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "m", attn_implementation="eager", output_loading_info=True
    )
    assert hf_name.config.model_type == family
    assert not any(report.values()), report
    tokens = np.random.default_rng(0).integers(0, 50, (3, 150))
    real = np.arange(150) < np.array([150, 40, 1])[:, None]
    with torch.no_grad():
        wanted = hf_name(
            torch.tensor(tokens), attention_mask=torch.tensor(real.astype(int))
        ).logits.numpy()
    got = model(tf.constant(tokens, tf.int32)).numpy()
    assert np.abs(wanted).max() > 1
    difference = np.abs(got - wanted)[real].max()
    print(f"{family}: {difference:.1e}")
    assert difference < 1e-4


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", sorted(SEQ2SEQ.iterdir()), ids=lambda path: path.name)
def test_transformers_reads_encoder_decoders_unchanged(path, tmp_path):
    loaded = directory.load(path)
    config = loaded.model.config
    directory.save(tmp_path / "m", loaded.model)
    theirs, report = transformers.AutoModelForSeq2SeqLM.from_pretrained(
        tmp_path / "m", attn_implementation="eager", output_loading_info=True
    )
    assert not any(report.values()), report
    wanted = np.load(path / "golden.npz")
    source, tokens = torch.tensor(wanted["source"]), torch.tensor(wanted["tokens"])
    mask = torch.arange(source.shape[1]) < torch.tensor(wanted["lengths"])[:, None]
    with torch.no_grad():
        got = theirs(source, attention_mask=mask.long(), decoder_input_ids=tokens)
    real = np.arange(tokens.shape[1]) < wanted["target_lengths"][:, None]
    difference = np.abs(got.logits.numpy() - wanted["logits"])[real].max()
    print(f"{path.name}: {difference:.1e}")
    assert difference < 1e-4
    assert theirs.generation_config.decoder_start_token_id == config.start_id
    assert theirs.generation_config.pad_token_id == config.padding_id
