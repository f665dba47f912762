"""Training steps of the families: nnkit with everything on, a textbook loop of the same network, other libraries."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec

import textbook
import torch
import workloads
from contenders import compiled_by_hand, enough, loop, ours
from lines import Group, Limit, Line, Setting
from peers import peers_of
from torch import Tensor, nn
from workloads import Materials, Size, Workload

LOOP, NNKIT, PUBLISHED = "textbook loop", "nnkit", "Hugging Face's BERT, bare loop"
BY_HAND = {
    torch.float32: "by hand: one compiled graph",
    torch.bfloat16: "by hand: one compiled graph in bfloat16",
}
_TINY = Size(16, 1, 2)


@dataclass(frozen=True)
class Family:
    """A network, how it is measured and what is wanted.

    Attributes:
        full: Makes the workload.
        quick: Makes a small one.
        limits: What a line should stay within, by name.
        variants: More words for nnkit, by the name of their line.
        others: More contenders.
        by_hand: Makes the network that is compiled by hand; None: that is not measured.
        precision: That of the one by hand.
        peers: Whether other libraries are measured.
    """

    full: Callable[[Materials], Workload]
    quick: Callable[[Materials], Workload]
    limits: Mapping[str, Limit | tuple[Limit, ...]] = field(default_factory=dict)
    variants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    others: Mapping[str, Callable[[Workload], Callable[[], nn.Module] | None]] = field(default_factory=dict)
    by_hand: Callable[[Workload], nn.Module] | None = None
    precision: torch.dtype = torch.float32
    peers: bool = True

    def measure(self, setting: Setting) -> Iterator[Line]:
        """Yield a line for each contender."""
        work = (self.quick if setting.quick else self.full)(setting.materials)
        steps = enough(work, setting)
        cases = {LOOP: partial(loop, work, steps), NNKIT: partial(ours, work, steps)}
        cases |= {name: partial(ours, work, steps, *words) for name, words in self.variants.items()}
        for name, make in self.others.items():
            network = make(work)
            cases[name] = network and (lambda made=network: loop(work, steps, network=made()))
        if self.by_hand is not None:
            made = compiled_by_hand(work, self.by_hand(work), self.precision)
            cases[BY_HAND[self.precision]] = partial(made, steps)
        if self.peers:
            cases |= peers_of(work, steps)
        # The first round imports what the others need.
        yield from Group(cases, self.limits, warm=1).measure(setting)


def hugging_face_bert(work: Workload) -> Callable[[], nn.Module] | None:
    """Return what makes Hugging Face's BERT of the same size; None if `transformers` is not installed."""
    if find_spec("transformers") is None:
        return None
    from transformers import BertConfig, BertForPreTraining

    class Published(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            book = work.network()
            vocab, dim = book.tokens.weight.shape
            layers = book.encoder.layers
            self.network = BertForPreTraining(
                BertConfig(
                    vocab_size=vocab,
                    hidden_size=dim,
                    num_hidden_layers=len(layers),
                    num_attention_heads=layers[0].self_attn.num_heads,
                    intermediate_size=4 * dim,
                )
            )

        def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
            tokens, segments, mask = inputs.unbind(1)
            found = self.network(tokens, attention_mask=mask, token_type_ids=segments)
            return found.prediction_logits, found.seq_relationship_logits

    return Published


def of_the_textbook(work: Workload) -> nn.Module:
    """Return the textbook's network."""
    return work.network()


def written_out_gpt(work: Workload) -> nn.Module:
    """Return the textbook's GPT with attention written out."""
    made = work.network()
    vocab, dim = made.tokens.weight.shape
    layers, block = len(made.blocks), len(made.positions.weight)
    return textbook.GPT(vocab, dim, layers, made.blocks[0].heads, block, written_out=True)


_HALF = {
    f"nnkit, trainer.precision={kind}": (f"trainer.precision={kind}",) for kind in ("bf16-mixed", "fastest")
}
FASTEST = "nnkit, trainer.precision=fastest"
_LIBRARIES = (Limit(0.5, beside="Keras 3 on torch"), Limit(0.7, beside="Hugging Face Trainer"))
FAMILIES = {
    "tiny": Family(
        lambda make: workloads.mlp(make, 8, (16,)),
        lambda make: workloads.mlp(make, 8, (16,)),
        {NNKIT: Limit(0.8e-3, "wall")},
        {"nnkit, callbacks=[] logger=[]": ("callbacks=[]", "logger=[]")},
        by_hand=of_the_textbook,
    ),
    "mlp": Family(
        workloads.mlp,
        lambda make: workloads.mlp(make, 8),
        {NNKIT: _LIBRARIES},
        {FASTEST: ("trainer.precision=fastest",)},
        by_hand=of_the_textbook,
    ),
    "lenet5": Family(
        workloads.lenet5,
        lambda make: workloads.lenet5(make, 8),
        {NNKIT: (Limit(0.75), *_LIBRARIES)},
        by_hand=of_the_textbook,
    ),
    "resnet": Family(workloads.resnet, lambda make: workloads.resnet(make, 2)),
    "vit": Family(workloads.vit, lambda make: workloads.vit(make, 1)),
    "lstm": Family(
        workloads.lstm,
        lambda make: workloads.lstm(make, 2, 16, 16, 1),
        {FASTEST: Limit(0.9)},
        _HALF,
    ),
    "gpt": Family(
        workloads.gpt,
        lambda make: workloads.gpt(make, 2, 16, _TINY),
        {FASTEST: Limit(0.5)},
        {
            **_HALF,
            "nnkit, trainer.precision=bf16-mixed trainer.compile=true": (
                "trainer.precision=bf16-mixed",
                "trainer.compile=true",
            ),
        },
        by_hand=written_out_gpt,
        precision=torch.bfloat16,
    ),
    "llama": Family(workloads.llama, lambda make: workloads.llama(make, 2, 16), variants=_HALF),
    "bert": Family(
        workloads.bert,
        lambda make: workloads.bert(make, 2, 16, _TINY),
        {FASTEST: Limit(0.6, beside=PUBLISHED)},
        variants=_HALF,
        others={PUBLISHED: hugging_face_bert},
    ),
}
