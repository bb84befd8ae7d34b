"""From text to token ids and back: cleaning and tokenizers."""
