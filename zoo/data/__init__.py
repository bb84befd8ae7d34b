"""From raw text and tables to batches.

sources       where text comes from: a spec such as `kjv` or `text:PATH` to documents
storage       files of this machine, and those of gs://, s3:// and other stores
compressed    bytes, lines and texts of files, plain or packed
tfds_builder  a data set of TensorFlow Datasets from local files
cleaning      steps that clean a text
tables        a spec such as `csv:PATH` to features and labels
splits        which documents or rows a run learns from, and which are held out
fingerprints  whether data changed since a run began
formats       documents to token ids
shards        documents as token ids in a folder on disk
streams       token ids out of shards and raw sources alike
mixtures      several sources with weights, which a schedule may change
batches       token ids or table rows to `tf.data.Dataset`s of fixed shapes
"""
