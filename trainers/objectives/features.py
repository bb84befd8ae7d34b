"""What a model makes of the tokens of a Batch, for the objectives of tokens."""

import tensorflow as tf


def features(model, batch, training) -> tf.Tensor:
    """The input of a model's head for each token, [B * T, D].

    Args:
      model: a language model, an encoder-decoder, or a model that guesses hidden
        tokens.
      batch: `tokens` [B, T]; of a model that guesses hidden tokens also `lengths` [B];
        of an encoder-decoder `source` [B, S] and `source_lengths` [B]; packed Batches
        have `segments` and `positions` [B, T] too.
      training: whether the caller computes gradients.
    """
    extras = {
        f"{name}_BT": batch[name] for name in ("segments", "positions") if name in batch
    }
    if model.config.task == "fill_mask":
        extras["lengths_B"] = batch["lengths"]
    if model.config.task == "seq2seq":
        extras |= {name: batch[name] for name in ("source", "source_lengths")}
    x_BTD = model.features(batch["tokens"], training=training, **extras)
    return tf.reshape(x_BTD, (-1, x_BTD.shape[-1]))
