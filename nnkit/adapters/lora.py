"""LoRA: beside each frozen matrix W a product B A of low rank is learnt, and both are applied to the input.

Hu et al. 2021, "LoRA: low-rank adaptation of large language models", section 4.1: h = W x + (alpha / r) B A x. No
gradient of W is computed, and the optimizer knows nothing of it.
"""

import math
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from nnkit.adapters.base import Adapter
from nnkit.adapters.names import is_named, unknown
from nnkit.errors import ConfigError, Problem
from nnkit.layers.checks import check_dropout, check_positive
from nnkit.layers.dropout import dropout
from nnkit.layers.packed import PackedLinear
from nnkit.network import Network

# What LoRA adds to a layer: names of parameters.
_NAMES = ("lora_a", "lora_b")
_KINDS = (nn.Linear, PackedLinear, nn.Conv1d, nn.Conv2d)

Plain = nn.Linear | nn.Conv1d | nn.Conv2d


class LoRA(Adapter):
    """Low-rank adaptation of linear layers and convolutions.

    Several layers packed in one matrix, as the query, key and value of attention, are adapted separately, each with
    matrices of its own: `query_key_value.query` names one of them.

    Args:
        rank: r, rows of A and columns of B.
        alpha: What B A is added to W with is alpha / rank, so that another rank needs no other learning rate.
        dropout: Probability that a number of A's input is set to zero while training.
        targets: Names of layers, or of parts of the network that hold them, such as "body.layers.5" and "*.value"; *
            matches anything, ? one character. None: all linear layers of the body.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(
        self,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        targets: Sequence[str] | None = None,
    ) -> None:
        check_positive("rank", rank)
        check_dropout(dropout)
        if alpha <= 0:
            raise ValueError(f"alpha must be positive, not {alpha}")
        if targets is not None and not targets:
            raise ValueError("targets must name a layer; null stands for all linear layers of the body")
        self.rank, self.alpha, self.dropout, self.targets = rank, alpha, dropout, targets

    @override
    def release(self, network: Network) -> None:
        """Put layers with A and B in the place of those that are named."""
        layers = _layers(network)
        for name, parts in self._chosen(network, layers).items():
            plain, scale = layers[name], self.alpha / self.rank
            if isinstance(plain, nn.Linear):
                adapted: nn.Module = LoRALinear(plain, self.rank, scale, self.dropout, parts)
            else:
                kind = LoRAConv1d if isinstance(plain, nn.Conv1d) else LoRAConv2d
                adapted = kind(plain, self.rank, scale, self.dropout)
            _put(network, name, adapted)

    def _chosen(self, network: Network, layers: Mapping[str, Plain]) -> dict[str, list[str]]:
        """Return the names of the layers to adapt, and which of its parts where one is packed."""
        names = {
            f"{name}.{part}" if part else name: (name, part)
            for name, layer in layers.items()
            for part in _parts(layer)
        }
        if self.targets is None:
            found = {key: layers[name] for key, (name, _) in names.items() if key.startswith("body.")}
            chosen = [key for key, layer in found.items() if isinstance(layer, nn.Linear)]
            if not chosen:
                raise ConfigError([_without_linear(network, list(found))])
        else:
            matched = {one: [key for key in names if is_named(one, key)] for one in self.targets}
            what = "linear layer or convolution outside the head"
            problems = [
                unknown("adapter.targets", one, names, what) for one, keys in matched.items() if not keys
            ]
            if problems:
                raise ConfigError(problems)
            several = {key for keys in matched.values() for key in keys}
            chosen = [key for key in names if key in several]
        result: dict[str, list[str]] = {}
        for name, part in (names[key] for key in chosen):
            result.setdefault(name, []).append(part)
        return result


def _layers(network: Network) -> dict[str, Plain]:
    """Return the layers of embed and body that can be adapted; one of a class of its own may compute otherwise."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, Plain) and type(module) in _KINDS and name.partition(".")[0] != "head"
    }


def _parts(layer: nn.Module) -> Collection[str]:
    return layer.widths if isinstance(layer, PackedLinear) else ("",)


def _without_linear(network: Network, convolutions: Sequence[str]) -> Problem:
    text = f"{type(network.body).__name__} has no linear layer, which are what is adapted by default"
    if convolutions:
        return Problem("adapter.targets", text, "adapter.targets=[body] adapts its convolutions")
    return Problem("adapter", f"{text}, and no convolution", "adapter=bitfit trains biases")


def is_added(name: str) -> bool:
    """Return whether a parameter is one that LoRA has added to a network, by its dotted name."""
    return name.rpartition(".")[2] in _NAMES


def merge(network: nn.Module) -> None:
    """Fold what was learnt into the weights: W becomes W + (alpha / r) B A, and the layers are plain ones again.

    Args:
        network: Changed in place; one without LoRA stays as it is.
    """
    for name, module in list(network.named_modules()):
        if isinstance(module, Adapted):
            _put(network, name, module.merged())


def _put(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, module.train(network.training))


class Adapted(nn.Module):
    """A layer whose weight W is frozen, and a product of low rank beside it.

    Attributes:
        lora_a: A.
        lora_b: B.
        scale: alpha / r.
        lora_dropout: Dropout of the input of A.
    """

    weight: Any
    bias: Any
    lora_a: nn.Parameter
    lora_b: nn.Parameter

    def _begin(self, plain: Plain, scale: float, dropout: float, *shapes: Sequence[int]) -> None:
        """Take over the weights of a layer, and draw A and B, of these shapes; B A begins at zero (section 4.1)."""
        self.scale, self.lora_dropout = scale, dropout
        self.weight, self.bias = plain.weight, plain.bias
        a, b = (plain.weight.new_empty(tuple(shape)) for shape in shapes)
        # As torch draws a linear layer, and the published code A.
        self.lora_a = nn.Parameter(nn.init.kaiming_uniform_(a, a=math.sqrt(5)))
        self.lora_b = nn.Parameter(nn.init.zeros_(b))

    def _dropped(self, inputs: Tensor) -> Tensor:
        return dropout(inputs, self.lora_dropout) if self.training else inputs

    @abstractmethod
    def change(self) -> Tensor:
        """Return (alpha / r) B A, of the shape of W."""

    @abstractmethod
    def _plain(self) -> Plain:
        """Return the layer as it was before it was adapted, without values."""

    def merged(self) -> nn.Module:
        """Return the layer as it was before it was adapted, with the weight W + (alpha / r) B A."""
        with torch.no_grad():
            weight = nn.Parameter(self.weight + self.change())
        plain = self._plain()
        plain.weight, plain.bias = weight, self.bias
        return plain


class LoRALinear(Adapted, nn.Linear):
    """h = W x + b + (alpha / r) B A x; of a packed layer, each adapted part has its own A and B, one below the other.

    Args:
        plain: The linear layer; its weights become those of this one.
        rank: r.
        scale: alpha / r.
        dropout: Of the input of A.
        parts: Those that are adapted of a packed layer.
    """

    def __init__(
        self, plain: nn.Linear, rank: int, scale: float, dropout: float, parts: Collection[str]
    ) -> None:
        # Without values: those of the plain layer come into their place.
        nn.Linear.__init__(self, plain.in_features, plain.out_features, plain.bias is not None, device="meta")
        self.widths = dict(plain.widths) if isinstance(plain, PackedLinear) else {"": plain.out_features}
        self.parts = [name for name in self.widths if name in parts]
        rows = sum(self.widths[name] for name in self.parts)
        self._begin(plain, scale, dropout, (rank * len(self.parts), plain.in_features), (rows, rank))

    def _b(self) -> Tensor:
        """Return (alpha / r) B, (out_features, r * parts): a block of it for each part, zero elsewhere."""
        scaled = self.scale * self.lora_b
        if len(self.widths) == 1:
            return scaled
        rows = torch.split(scaled, [self.widths[name] for name in self.parts])
        blocks = dict(zip(self.parts, rows, strict=True))
        # A block without columns stands for a part that is not adapted.
        nothing = {name: scaled.new_empty(width, 0) for name, width in self.widths.items()}
        whole: Tensor = torch.block_diag(*(nothing | blocks).values())  # type: ignore[no-untyped-call]
        return whole

    @override
    def forward(self, input: Tensor) -> Tensor:
        """Map inputs (..., in_features) to (..., out_features)."""
        drops, device = self.training and self.lora_dropout > 0, input.device.type
        # There is no mixed precision where shapes alone are computed.
        mixed = device != "meta" and torch.is_autocast_enabled(device)
        if torch.is_grad_enabled() and not (drops or mixed):
            arguments = (input, self.weight, self.bias, self.lora_a, self.lora_b, self.scale, self._places())
            summed: Tensor = _WithSum.apply(*arguments)  # type: ignore[no-untyped-call]
            return summed
        low = functional.linear(self._dropped(input), self.lora_a)  # A x: (..., r * parts)
        return functional.linear(input, self.weight, self.bias) + functional.linear(low, self._b())

    def _places(self) -> list[slice]:
        """Return which rows of W each adapted part has."""
        ends = dict(zip(self.widths, accumulate(self.widths.values()), strict=True))
        return [slice(ends[name] - self.widths[name], ends[name]) for name in self.parts]

    @override
    def change(self) -> Tensor:
        """Return (alpha / r) B A, (out_features, in_features)."""
        return self._b() @ self.lora_a

    @override
    def _plain(self) -> nn.Linear:
        has_bias = self.bias is not None
        if "" in self.widths:
            return nn.Linear(self.in_features, self.out_features, has_bias, device="meta")
        with torch.device("meta"):
            return PackedLinear(self.in_features, self.widths, bias=has_bias)


class _WithSum(torch.autograd.Function):
    """h = (W + (alpha / r) B A) x + b, which a CPU computes as fast as W x, and the gradients of A, B and x.

    Products with few columns are slow on a CPU, and so is each pass over h: with B (A x) added to W x, a step of BERT
    takes as long as one that trains all weights. The sum is not kept, but made anew for the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        """Map inputs (..., in_features) to (..., out_features).

        Args:
            ctx: What the backward pass needs.
            arguments: x, W, the bias, A of each part one below the other, B likewise, alpha / r, and which rows of W
                each part has.
        """
        inputs, weight, bias, a, b, scale, places = arguments
        ctx.save_for_backward(inputs, weight, a, b)
        ctx.scale, ctx.places = scale, places
        return functional.linear(inputs, _sum(weight, a, b, scale, places), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of inputs, A and B; W and the bias are frozen."""
        inputs, weight, a, b = ctx.saved_tensors
        rows = inputs.reshape(-1, inputs.shape[-1])  # (items, in_features)
        outputs = gradients[0].reshape(-1, gradients[0].shape[-1])  # (items, out_features)
        # On a CPU, products of few rows are nearly twice as fast as those of few columns.
        low = a @ rows.T  # A x: (r * parts, items)
        of_low, of_b = torch.empty_like(low), torch.empty_like(b)
        rank, begin = b.shape[1], 0
        for number, (place, _, b_part) in enumerate(_split(a, b, ctx.places)):
            some, part = slice(number * rank, (number + 1) * rank), outputs[:, place]
            of_low[some] = b_part.T.contiguous() @ part.T
            of_b[begin : begin + len(b_part)] = (low[some] @ part).T
            begin += len(b_part)
        of_inputs = None
        if ctx.needs_input_grad[0]:
            of_inputs = (outputs @ _sum(weight, a, b, ctx.scale, ctx.places)).view(inputs.shape)
        return of_inputs, None, None, (of_low @ rows).mul_(ctx.scale), of_b.mul_(ctx.scale), None, None


def _sum(weight: Tensor, a: Tensor, b: Tensor, scale: float, places: Sequence[slice]) -> Tensor:
    """Return W + (alpha / r) B A."""
    whole = weight.detach().clone()
    for place, a_part, b_part in _split(a, b, places):
        whole[place].addmm_(b_part, a_part, alpha=scale)
    return whole


def _split(a: Tensor, b: Tensor, places: Sequence[slice]) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield the rows, A and B of each part."""
    begin, rank = 0, b.shape[1]
    for number, place in enumerate(places):
        end = begin + place.stop - place.start
        yield place, a[number * rank : (number + 1) * rank], b[begin:end]
        begin = end


class LoRAConv(Adapted):
    """h = W * x + b + (alpha / r) B * (A * x): A is a convolution as W is, to r maps, and B one of single pixels.

    Where W is made up of groups, so are A and B: r maps for each.

    Args:
        plain: The convolution; its weights become those of this one.
        rank: r.
        scale: alpha / r.
        dropout: Of the input of A.
    """

    groups: int
    _conv_forward: Any
    convolve: ClassVar[Any]

    def __init__(self, plain: nn.Conv1d | nn.Conv2d, rank: int, scale: float, dropout: float) -> None:
        super().__init__(**_settings(plain))
        outputs, inputs, *kernel = plain.weight.shape
        ones = [1] * len(kernel)
        self._begin(plain, scale, dropout, (rank * plain.groups, inputs, *kernel), (outputs, rank, *ones))

    def forward(self, input: Tensor) -> Tensor:
        """Map maps (batch, in_channels, ...) to (batch, out_channels, ...)."""
        low = self._conv_forward(self._dropped(input), self.lora_a, None)  # (batch, r * groups, ...)
        high = self.convolve(low, self.scale * self.lora_b, groups=self.groups)
        whole: Tensor = self._conv_forward(input, self.weight, self.bias) + high
        return whole

    @override
    def change(self) -> Tensor:
        """Return (alpha / r) B A, (out_channels, in_channels / groups, ...)."""
        b, a = (
            one.reshape(self.groups, one.shape[0] // self.groups, -1) for one in (self.lora_b, self.lora_a)
        )
        product: Tensor = self.scale * b @ a  # (groups, out_channels / groups, inputs)
        return product.view(self.weight.shape)


class LoRAConv1d(LoRAConv, nn.Conv1d):
    """Of steps (batch, channels, time); see `LoRAConv`."""

    convolve = staticmethod(functional.conv1d)

    @override
    def _plain(self) -> nn.Conv1d:
        return nn.Conv1d(**_settings(self))


class LoRAConv2d(LoRAConv, nn.Conv2d):
    """Of images (batch, channels, height, width); see `LoRAConv`."""

    convolve = staticmethod(functional.conv2d)

    @override
    def _plain(self) -> nn.Conv2d:
        return nn.Conv2d(**_settings(self))


def _settings(layer: nn.Conv1d | nn.Conv2d) -> dict[str, Any]:
    """Return the arguments of a convolution like another one, without values."""
    names = (
        "in_channels",
        "out_channels",
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "groups",
        "padding_mode",
    )
    return {
        **{name: getattr(layer, name) for name in names},
        "bias": layer.bias is not None,
        "device": "meta",
    }
