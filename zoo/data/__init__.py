"""From raw text and tables to batches.

sources    where text comes from: a spec such as `kjv` or `text:PATH` to documents
cleaning   steps that clean a text
splits     which documents are held out for evaluation
formats    documents to token ids
tables     a spec such as `csv:PATH` to features and labels
batches    token ids or table rows to `tf.data.Dataset`s of fixed shapes
"""
