"""Vectors of sentences by a published model, beside those of `transformers`: the mean over all tokens.

pip install transformers
python benchmarks/embedding.py DIR          # such as the directory of all-MiniLM-L6-v2
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

from nnkit.inference.embedding import embed_batches
from nnkit.runs.published import open_published

SENTENCES = [
    "How do I read a file line by line?",
    "Open a text and iterate over its rows.",
    "Sort a list of dictionaries by a key.",
    "Order records by one of their fields.",
    "The weather is lovely today.",
]


def theirs(path: Path, sentences: list[str]) -> torch.Tensor:
    """Return the vectors of transformers, (sentences, dim)."""
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval()
    batch = tokenizer(sentences, padding=True, return_tensors="pt")
    with torch.inference_mode():
        features = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1).float()
    return (features * mask).sum(1) / mask.sum(1)


def ours(path: Path, sentences: list[str]) -> torch.Tensor:
    """Return the vectors of nnkit, (sentences, dim)."""
    network, reader, size = open_published(path, "mean")
    batches = embed_batches(network, reader, sentences, size, "mean")
    return torch.cat([torch.from_numpy(vectors) for _, vectors in batches if vectors is not None])


def main() -> None:
    """Print the largest difference."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    path = parser.parse_args().directory
    one, other = ours(path, SENTENCES), theirs(path, SENTENCES)
    print(f"{tuple(one.shape)} numbers, the largest difference {(one - other).abs().max().item():.1e}")


if __name__ == "__main__":
    main()
