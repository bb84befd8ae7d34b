"""SentencePiece models with T5's ids of special pieces."""


def train(lines, prefix, size):
    """Trains a Unigram model, `prefix`.model, of at most so many pieces."""
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(prefix),
        vocab_size=size,
        hard_vocab_limit=False,
        minloglevel=2,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
    )
