"""Models of a few thousand weights, made by the real libraries and kept in folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "</s>", "a", "secret", "question", "why", "because")


def tokenizer() -> Any:
    """A tokenizer that knows some words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", eos_token="</s>",
        cls_token="[CLS]", sep_token="[SEP]", model_max_length=64,
    )  # fmt: skip


def generating(folder: Path, seed: int = 1) -> Path:
    """Put a model that generates, of random weights, into *folder*."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(WORDS), n_positions=64, n_embd=8, n_layer=1, n_head=2,
        bos_token_id=4, eos_token_id=4, pad_token_id=0,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def embedding(folder: Path, seed: int = 1, *, is_normalized: bool = True) -> Path:
    """Put a sentence-transformers model, of random weights, into *folder*."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=64,
    )  # fmt: skip
    inner = folder.with_name(f"{folder.name}-inner")
    BertModel(config).save_pretrained(inner)
    tokenizer().save_pretrained(inner)
    modules: list[Any] = [Transformer(str(inner)), Pooling(8)]
    made = SentenceTransformer(modules=[*modules, Normalize()] if is_normalized else modules)
    made.save(str(folder))
    return folder
