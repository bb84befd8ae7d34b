"""The same preparation, and batch inference, on Apache Beam; extra `beam`.

filters      stages as a PTransform for pipelines of your own
store        folders that all workers reach, on a disk or in a bucket
preparation  a Recipe as a pipeline: the shards of a local run, byte for byte
inference    a SavedModel's answers to the rows of a source

Beam 2.77 allows protobuf below 7 and pyarrow below 26, and requirements.lock has later
ones. So Beam lives in an environment of its own, made without that file.
"""
