"""LeNet-5 to the letter of its paper."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from nnkit.layers.checks import check_positive
from nnkit.layers.probing import MAPS, UNITS, Probe

# Table I of the paper: which maps of S2 (rows) each of the 16 maps of C3 (columns) reads. That the columns differ
# breaks the symmetry: each map of C3 is forced to extract other features.
C3_TABLE = (
    "X...XXX..XXXX.XX",
    "XX...XXX..XXXX.X",
    "XXX...XXX..X.XXX",
    ".XXX..XXXX..X.XX",
    "..XXX..XXXX.XX.X",
    "...XXX..XXXX.XXX",
)


class LeNet1998(nn.Module):
    """The convolutional network C1 S2 C3 S4 C5 F6 of LeCun et al. 1998, for images of 32x32 pixels.

    "Gradient-based learning applied to document recognition", Proceedings of the IEEE 86(11), section II.B:
    subsampling with a trainable coefficient and bias for each map, the connection table of C3, the scaled
    tanh and the initial weights of appendix A. With the `rbf` head, which has no trainable parameter, the
    network has exactly 60,000 of them. The paper's pixels run from -0.1 (background) to 1.175 (ink), which
    brings their mean near 0 and their variance near 1; here standardised pixels stand for them.

    Args:
        dim_in: Channels of an image; 1 in the paper.

    Raises:
        ValueError: If dim_in is below 1.
    """

    def __init__(self, dim_in: int) -> None:
        super().__init__()
        check_positive("dim_in", dim_in)
        # With the numbers of trainable parameters that section II.B counts.
        self.c1 = nn.Conv2d(dim_in, 6, kernel_size=5)  # 156
        self.s2 = Subsampling(6)  # 12
        self.c3 = TableConvolution(C3_TABLE, kernel_size=5)  # 1,516
        self.s4 = Subsampling(16)  # 32
        # A 5x5 convolution over 5x5 maps has one position: it is a linear layer, and faster as one.
        self.c5 = nn.Linear(16 * 5 * 5, 120)  # 48,120
        self.f6 = nn.Linear(120, 84)  # 10,164
        self.dim_out = 84
        for layer, fan_in in ((self.c1, 25 * dim_in), (self.c5, 400), (self.f6, 120)):
            for parameter in layer.parameters():
                initialise(parameter, fan_in)
        convert_conv2d_weight_memory_format(self, torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, dim_in, 32, 32) to features (batch, 84)."""
        x = scaled_tanh(self.c1(images))  # (batch, 6, 28, 28)
        x = self.s2(x)  # (batch, 6, 14, 14)
        x = scaled_tanh(self.c3(x))  # (batch, 16, 10, 10)
        x = self.s4(x)  # (batch, 16, 5, 5)
        x = scaled_tanh(self.c5(x.flatten(1)))  # (batch, 120)
        return scaled_tanh(self.f6(x))  # (batch, 84): equation 5, x_i = f(a_i)

    def probe(self) -> list[Probe]:
        """Return the paper's layers; all but S2 and S4 before they are squashed."""
        maps = {"C1": self.c1, "S2": self.s2, "C3": self.c3, "S4": self.s4}
        units = {"C5": self.c5, "F6": self.f6}
        return [
            *(Probe(name, layer, MAPS) for name, layer in maps.items()),
            *(Probe(name, layer, UNITS) for name, layer in units.items()),
        ]


def scaled_tanh(inputs: Tensor) -> Tensor:
    """Squash with f(a) = A tanh(S a), equation 6, where A = 1.7159 and S = 2/3.

    It maps +-1 to +-1, where its curvature is largest (appendix A).
    """
    return torch.tanh(inputs * (2 / 3)) * 1.7159


@torch.no_grad()
def initialise(weights: Tensor, fan_in: int) -> None:
    """Draw weights uniformly from +-2.4 / fan_in, so that no unit starts saturated (appendix A).

    Args:
        weights: Parameter to fill.
        fan_in: Inputs of the unit that the weights belong to.
    """
    nn.init.uniform_(weights, -2.4 / fan_in, 2.4 / fan_in)


class Subsampling(nn.Module):
    """Halves each map: adds the four pixels of a square, scales and shifts the sum, squashes it.

    Args:
        num_maps: Maps, each with a trainable coefficient and bias.
    """

    def __init__(self, num_maps: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.empty(num_maps))
        self.bias = nn.Parameter(torch.empty(num_maps))
        initialise(self.coefficient, 4)
        initialise(self.bias, 4)

    def forward(self, maps: Tensor) -> Tensor:
        """Map maps (batch, num_maps, height, width) to (batch, num_maps, height / 2, width / 2)."""
        # Scaling the mean by four times the coefficient is scaling the sum, on a quarter of the pixels.
        means = functional.avg_pool2d(maps, 2)  # (batch, num_maps, height / 2, width / 2)
        return scaled_tanh(torch.addcmul(_per_map(self.bias), means, _per_map(4 * self.coefficient)))


def _per_map(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)


class TableConvolution(nn.Module):
    """A convolution in which each output map reads only some of the input maps.

    Only the kernels that exist are parameters. They are set into a dense kernel with zeros elsewhere at each
    forward pass: one convolution over everything is faster than one for each output map.

    Args:
        table: One string for each input map with one character for each output map: X where they connect.
        kernel_size: Height and width of a kernel.
    """

    places: Tensor

    def __init__(self, table: tuple[str, ...], kernel_size: int) -> None:
        super().__init__()
        num_inputs, num_outputs = len(table), len(table[0])
        # For each output map the input maps it reads, in the order in which the dense kernel holds them.
        seen = [[i for i in range(num_inputs) if table[i][o] == "X"] for o in range(num_outputs)]
        places = [o * num_inputs + i for o, inputs in enumerate(seen) for i in inputs]
        self.register_buffer("places", torch.tensor(places), persistent=False)
        self.shape = (num_outputs, num_inputs, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.empty(len(places), kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(num_outputs))
        kernels = torch.split(self.weight, [len(inputs) for inputs in seen])
        for inputs, kernel, bias in zip(seen, kernels, self.bias, strict=True):
            initialise(kernel, len(inputs) * kernel_size**2)
            initialise(bias, len(inputs) * kernel_size**2)

    def forward(self, maps: Tensor) -> Tensor:
        """Map maps (batch, in, height, width) to (batch, out, height - kernel + 1, width - kernel + 1)."""
        outputs, inputs, *kernel = self.shape
        # (out * in, kernel, kernel), zero where table I has no X
        dense = self.weight.new_zeros(outputs * inputs, *kernel).index_copy(0, self.places, self.weight)
        # Laid out as the maps are, or the convolution copies the maps instead of this small kernel.
        dense = dense.view(self.shape).contiguous(memory_format=torch.channels_last)
        return functional.conv2d(maps, dense, self.bias)
