"""Corpus: what the model reads before it answers: readers, generated knowledge, tokenizer, packed shards."""
