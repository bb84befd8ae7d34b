"""Finds the fields of a config.json that the zoo does not use.

transformers ignores fields that a family does not have. So the zoo reads such a
config.json too, and warns of these fields.
"""

from typing import Any

from zoo.directory.hf import rope
from zoo.directory.hf.parts import Family

# Fields that are not about what a model computes: identity, training, defaults of
# generation (which old files have here), and the head of another task. `from_hf`
# refuses those values of the last four that change what a model computes.
_HARMLESS = frozenset(
    """
    architectures auto_map dtype finetuning_task hidden_act id2label is_composition
    is_llama_config keys_to_ignore_at_inference label2id language license model_type
    name_or_path num_labels output_attentions output_hidden_states output_past prefix
    problem_type return_dict sentence_transformers task_specific_params tokenizer_class
    torch_dtype torchscript transformers.js_config transformers_version unsloth_fixed
    unsloth_version use_cache use_return_dict vocab_size zoo

    activation_dropout attention_dropout attention_probs_dropout_prob attn_pdrop
    classifier_dropout classifier_dropout_prob embd_pdrop gradient_checkpointing
    hidden_dropout init_std initializer_range layerdrop resid_pdrop

    bad_words_ids begin_suppress_tokens bos_token_id cache_implementation
    decoder_start_token_id diversity_penalty do_sample early_stopping
    encoder_no_repeat_ngram_size eos_token_id exponential_decay_length_penalty
    forced_bos_token_id forced_eos_token_id length_penalty max_length min_length
    no_repeat_ngram_size num_beam_groups num_beams num_return_sequences output_scores
    pad_token_id remove_invalid_values repetition_penalty return_dict_in_generate
    sep_token_id suppress_tokens temperature top_k top_p typical_p

    chunk_size_feed_forward directionality is_decoder max_window_layers n_ctx
    pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head
    pooler_type predict_special_tokens pretraining_tp reorder_and_upcast_attn
    rope_interleaved sliding_window summary_activation summary_first_dropout
    summary_proj_to_labels summary_type summary_use_proj tie_encoder_decoder
    tie_word_embeddings use_sliding_window

    add_bias_logits classif_dropout decoder_layerdrop dense_act_fn encoder_layerdrop
    extra_pos_embeddings initializer_factor is_gated_act n_positions num_hidden_layers

    add_cross_attention is_encoder_decoder pruned_heads quantization_config
    """.split()
)


class _Recorder(dict):
    """A dict that remembers which of its keys were read."""

    def __init__(self, value):
        super().__init__(value)
        self.read = set()

    def get(self, key, default=None):
        self.read.add(key)
        return super().get(key, default)

    def __getitem__(self, key):
        self.read.add(key)
        return super().__getitem__(key)


def fields(family: Family, value: dict[str, Any]) -> list[str]:
    """Returns the names of fields that are not used, sorted.

    Args:
      family: the family of the config.json.
      value: its content; the list is empty if the family refuses it.
    """
    recorder = _Recorder(value)
    try:
        family.read(recorder, "")
        objects = {name: value.get(name) for name in rope.OBJECTS}
        unknown = rope.unknown({k: v for k, v in objects.items() if k in recorder.read})
    except (KeyError, ValueError):
        return []
    names = value.keys() - recorder.read - _HARMLESS
    return sorted([*(name for name in names if name[:1] != "_"), *unknown])
