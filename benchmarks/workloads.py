"""What is measured: a network and its batches, as nnkit is asked for them and as a textbook loop has them.

Data are made up in the formats of the real ones, so that nothing is fetched: a step takes as long on noise.
"""

import pydoc_data.topics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import textbook
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam, AdamW, Optimizer

CLASSES = 10


class Size(NamedTuple):
    """Of a Transformer: width, layers, heads."""

    dim: int
    layers: int
    heads: int

    @property
    def words(self) -> list[str]:
        """What nnkit is asked for."""
        return [f"model.dim={self.dim}", f"model.num_layers={self.layers}", f"model.num_heads={self.heads}"]


# nanoGPT's for a processor, and that of conf/model/bert.yaml.
GPT_SIZE, BERT_SIZE = Size(128, 4, 4), Size(256, 4, 4)


@dataclass(frozen=True)
class Workload:
    """A network on batches of one shape.

    Attributes:
        name: Its name in tables.
        words: What nnkit is asked for.
        network: Makes the network of the textbook.
        draw: Returns inputs and target of a batch, drawn from torch's global generator.
        optimizer: Makes the optimizer of the textbook.
        batch: Samples in a batch.
        tokens: Tokens in a sample; 1 where it has none.
        loss: Maps what the network returns, and the target, to a number.
    """

    name: str
    words: tuple[str, ...]
    network: Callable[[], nn.Module]
    draw: Callable[[], tuple[Tensor, Tensor]]
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    batch: int
    tokens: int = 1
    loss: Callable[[Any, Tensor], Tensor] = field(default=lambda outputs, target: each_class(outputs, target))


def each_class(outputs: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy of logits (..., classes) and class indices (...)."""
    return functional.cross_entropy(outputs.flatten(0, -2), target.flatten())


def masked_tokens(outputs: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    """Return BERT's loss; the last column of the target says whether the second sentence follows."""
    tokens, follows = outputs
    return each_class(tokens, target[:, :-1]) + functional.cross_entropy(follows, target[:, -1])


class Materials:
    """Data in a folder, each written when it is first asked for.

    Args:
        folder: Where.
        pictures: Colour pictures in each of the six files.
    """

    def __init__(self, folder: Path, pictures: int = 1000) -> None:
        self.folder, self.pictures = folder, pictures

    @cached_property
    def digits(self) -> tuple[list[str], Tensor, Tensor]:
        """Noise in MNIST's format: nnkit's words, pictures (n, 1, 28, 28) normalised, classes (n,)."""
        random = np.random.default_rng(0)
        for part, count in (("train", 60_000), ("t10k", 10_000)):
            pixels = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
            classes = random.integers(0, CLASSES, count, dtype=np.uint8)
            for name, array in (
                (f"{part}-images-idx3-ubyte", pixels),
                (f"{part}-labels-idx1-ubyte", classes),
            ):
                head = np.array([0x800 + array.ndim, *array.shape], dtype=">i4").tobytes()
                (self.folder / name).write_bytes(head + array.tobytes())
        words = ["data=mnist", f"data.root={self.folder}", "data.verify=false"]
        return words, *_normalised(pixels[:, None], classes)

    @cached_property
    def photographs(self) -> tuple[list[str], Tensor, Tensor]:
        """Noise in CIFAR-10's format: nnkit's words, pictures (n, 3, 32, 32) normalised, classes (n,)."""
        random = np.random.default_rng(0)
        for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
            records = random.integers(0, 256, (self.pictures, 3073), dtype=np.uint8)
            records[:, 0] %= CLASSES
            (self.folder / f"{name}.bin").write_bytes(records.tobytes())
        words = ["data=cifar10", f"data.root={self.folder}", "data.verify=false"]
        return words, *_normalised(records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0])

    @cached_property
    def text(self) -> tuple[list[str], Tensor, int]:
        """Python's help texts: nnkit's words, the characters as numbers (time,), how many there are."""
        path = self.folder / "text.txt"
        text = "\n\n".join(pydoc_data.topics.topics.values()).encode("ascii", "ignore")
        path.write_bytes(text)
        kinds, numbers = np.unique(np.frombuffer(text, np.uint8), return_inverse=True)
        words = ["data=text_file", f"data.path={path}"]
        return words, torch.from_numpy(numbers.astype(np.int64)), len(kinds)

    @cached_property
    def documents(self) -> list[str]:
        """Sentences of documents, to tell which ones follow another: nnkit's words."""
        path = self.folder / "documents.txt"
        random = np.random.default_rng(0)
        vocabulary = ["".join(random.choice([*"etaoinshrdlu"], 5)) for _ in range(4000)]
        documents = ["\n".join(" ".join(random.choice(vocabulary, 40)) for _ in range(20)) for _ in range(60)]
        path.write_text("\n\n".join(documents) + "\n")
        return ["data=text_pairs_file", f"data.path={path}"]


def _normalised(pixels: np.ndarray, classes: np.ndarray) -> tuple[Tensor, Tensor]:
    inputs = torch.from_numpy(pixels).float() / 255
    return (inputs - inputs.mean()) / inputs.std(), torch.from_numpy(classes.astype(np.int64))


def _rows(inputs: Tensor, target: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    rows = torch.randint(len(inputs), (batch,))
    return inputs[rows], target[rows]


def _windows(tokens: Tensor, batch: int, block: int) -> tuple[Tensor, Tensor]:
    places = torch.randint(len(tokens) - block, (batch, 1)) + torch.arange(block)
    return tokens[places], tokens[places + 1]


def lenet5(materials: Materials, batch: int = 64) -> Workload:
    """LeNet-5 on digits."""
    words, inputs, target = materials.digits
    return Workload(
        "LeNet-5",
        ("model=lenet5", *words, f"data.batch_size={batch}", "optimizer=adam", "scheduler=constant"),
        textbook.lenet5,
        partial(_rows, inputs, target, batch),
        partial(Adam, lr=1e-3),
        batch,
    )


def mlp(materials: Materials, batch: int = 64, hidden: tuple[int, ...] = (300, 100)) -> Workload:
    """A multilayer perceptron on digits."""
    words, inputs, target = materials.digits
    return Workload(
        "MLP",
        (
            *("model=mlp", f"model.hidden={[*hidden]}", *words, f"data.batch_size={batch}"),
            *("optimizer=adam", "scheduler=constant"),
        ),
        partial(textbook.mlp, 784, *hidden, CLASSES),
        partial(_rows, inputs, target, batch),
        partial(Adam, lr=1e-3),
        batch,
    )


def resnet(materials: Materials, batch: int = 128, deep: bool = False) -> Workload:
    """ResNet-20 on photographs, or ResNet-50 on the same enlarged to 224x224."""
    words, inputs, target = materials.photographs
    model = ["model=resnet50", "model.embeds.pictures.size=224"] if deep else ["model=resnet20"]
    return Workload(
        "ResNet-50" if deep else "ResNet-20",
        (*model, *words, f"data.batch_size={batch}", "optimizer=sgd", "optimizer.lr=0.01"),
        _enlarged if deep else textbook.resnet20,
        partial(_rows, inputs, target, batch),
        partial(SGD, lr=0.01, momentum=0.9, nesterov=True),
        batch,
    )


def _enlarged() -> nn.Module:
    return nn.Sequential(nn.Upsample(224, mode="bilinear"), textbook.resnet50(CLASSES))


def vit(materials: Materials, batch: int = 4) -> Workload:
    """ViT-Ti with patches of 4x4 on photographs."""
    words, inputs, target = materials.photographs
    return Workload(
        "ViT-Ti",
        ("model=vit_tiny", "model.patch_size=4", *words, f"data.batch_size={batch}"),
        textbook.ViTTiny,
        partial(_rows, inputs, target, batch),
        partial(AdamW, lr=1e-3),
        batch,
    )


def lstm(
    materials: Materials, batch: int = 32, block: int = 128, dim: int = 256, layers: int = 2
) -> Workload:
    """An LSTM language model of characters."""
    words, tokens, vocab = materials.text
    return Workload(
        "LSTM",
        (
            *("model=lstm", f"model.dim={dim}", f"model.num_layers={layers}", *words),
            *(f"data.batch_size={batch}", f"data.block_size={block}"),
        ),
        partial(textbook.LSTM, vocab, dim=dim, layers=layers),
        partial(_windows, tokens, batch, block),
        partial(Adam, lr=2e-3),
        batch,
        block,
    )


def gpt(materials: Materials, batch: int = 12, block: int = 64, size: Size = GPT_SIZE) -> Workload:
    """GPT on characters, at nanoGPT's size for a CPU unless told otherwise."""
    words, tokens, vocab = materials.text
    return Workload(
        "GPT",
        (
            *("model=gpt", *size.words),
            *(f"model.max_len={block}", *words, f"data.block_size={block}", f"data.batch_size={batch}"),
            *("trainer.gradient_clip_val=1.0", "optimizer.lr=1e-3"),
        ),
        partial(textbook.GPT, vocab, size.dim, size.layers, size.heads, block),
        partial(_windows, tokens, batch, block),
        partial(AdamW, lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1),
        batch,
        block,
    )


def llama(materials: Materials, batch: int = 12, block: int = 64) -> Workload:
    """Llama on characters."""
    words, tokens, vocab = materials.text
    return Workload(
        "Llama",
        ("model=llama", *words, f"data.block_size={block}", f"data.batch_size={batch}"),
        partial(textbook.Llama, vocab, block),
        partial(_windows, tokens, batch, block),
        partial(AdamW, lr=1e-3),
        batch,
        block,
    )


def bert(materials: Materials, batch: int = 8, length: int = 128, size: Size = BERT_SIZE) -> Workload:
    """BERT's pre-training on pairs of sentences, its batches as full as nnkit's."""
    words, vocab = materials.documents, 4096
    return Workload(
        "BERT",
        (
            *("model=bert", *size.words),
            *(*words, f"data.max_length={length}", f"data.batch_size={batch}", f"data.max_vocab={vocab}"),
        ),
        partial(textbook.BERT, vocab, size.dim, size.layers, size.heads),
        partial(_sentences, vocab, batch, length),
        partial(AdamW, lr=1e-4, weight_decay=0.01),
        batch,
        length,
        masked_tokens,
    )


def _sentences(vocab: int, batch: int, length: int) -> tuple[Tensor, Tensor]:
    """Return tokens, segments and mask (batch, 3, length); of 15 % of the tokens the target, and what follows."""
    tokens = torch.randint(vocab, (batch, length))
    segments = (torch.arange(length) >= length // 2).long().expand(batch, -1)
    target = torch.where(torch.rand(batch, length) < 0.15, tokens, -100)
    inputs = torch.stack([tokens, segments, torch.ones_like(tokens)], dim=1)
    return inputs, torch.cat([target, torch.randint(2, (batch, 1))], dim=1)
