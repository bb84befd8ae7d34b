"""From raw text to batches: sources, formats, tf.data pipelines."""
