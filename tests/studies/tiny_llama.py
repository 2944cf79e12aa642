"""A language model of two layers and its tokenizer, as `k2 get smollm2` would have put its own."""

from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


def save(directory: Path, texts: list[str], heads: int = 4, keys: int = 2) -> Path:
    """Writes both, the tokenizer made from the texts; `heads` of attention, over so many `keys`."""
    made = ByteLevelBPETokenizer()
    made.train_from_iterator(texts, 600, special_tokens=["<|end|>"])
    made.save(str(directory / "made.json"))
    PreTrainedTokenizerFast(tokenizer_file=str(directory / "made.json"), eos_token="<|end|>").save_pretrained(directory)
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": heads}
    config = LlamaConfig(vocab_size=600, **shape, num_key_value_heads=keys, eos_token_id=0)
    LlamaForCausalLM(config).save_pretrained(directory)
    return directory
