"""Measures of texts and answers that need no model, a file a kind of answer.

classification       labels of a fixed list: accuracy, F1, confusion, calibration
tagging              entities in sequences of tags
question_answering   short answers beside one or several right ones
generation           translations, summaries, and samples that a check accepts
retrieval            ranked results of a search
bootstrap            intervals of any measure, and the difference of two systems
audit                text repeated from the training data, and pairs that show bias
compression          bits a byte of xz
"""
