"""ResNet: a convolutional network whose blocks learn what to add to what they are given."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from nnkit.layers.checks import check_all_positive, check_choice, check_positive
from nnkit.layers.probing import MAPS, Probe

BlockName = Literal["basic", "bottleneck"]
Stem = Literal["large", "small"]
Shortcut = Literal["projection", "padding"]
# A bottleneck puts out so many maps for each of its 3x3 convolution's (table 1).
_EXPANSION = 4


class ResNet(nn.Module):
    """Deep residual network, for images of any size.

    He, Zhang, Ren and Sun 2015, "Deep residual learning for image recognition": table 1 with the large stem (18, 34 and
    50 layers), section 4.2 with the small one and padded shortcuts (20, 32 and 56 layers, for images of 32x32). Each
    stage behind the first halves the sides of the maps in its first block. Weights begin as in He et al. 2015, "Delving
    deep into rectifiers", equation 14, which keeps the size of gradients.

    Args:
        dim_in: Channels of an image.
        block: "basic", two 3x3 convolutions, or "bottleneck", 1x1, 3x3 and 1x1 (figure 5).
        depths: Blocks of each stage.
        channels: Maps of the 3x3 convolutions of each stage; a bottleneck puts out four times as many.
        stem: The layer before the stages: "large", 7x7 with stride 2 and a maximum over 3x3 with stride 2, or "small",
            3x3.
        shortcut: What a block that changes the size adds to: a "projection" by a 1x1 convolution (option B of section
            3.3), or every second pixel with "padding", maps of zeros (option A, which has no parameters).
        stride_in_1x1: Whether a bottleneck halves sides in its first convolution, as in the paper. Since then it is
            commonly the 3x3 one, which is more accurate (Goyal et al. 2017, section 5.1).

    Raises:
        ValueError: If a number is out of range, there is not one of each list a stage, or a name is unknown.
    """

    def __init__(
        self,
        dim_in: int,
        *,
        block: BlockName = "basic",
        depths: Sequence[int] = (2, 2, 2, 2),
        channels: Sequence[int] = (64, 128, 256, 512),
        stem: Stem = "large",
        shortcut: Shortcut = "projection",
        stride_in_1x1: bool = False,
    ) -> None:
        super().__init__()
        check_positive("dim_in", dim_in)
        if not depths or len(depths) != len(channels):
            raise ValueError(
                f"depths and channels must name one number a stage, not {len(depths)} and {len(channels)}"
            )
        check_all_positive("depths", depths)
        check_all_positive("channels", channels)
        check_choice("block", block, get_args(BlockName))
        check_choice("stem", stem, get_args(Stem))
        check_choice("shortcut", shortcut, get_args(Shortcut))
        if shortcut == "padding" and list(channels) != sorted(channels):
            raise ValueError(
                f"shortcut=padding cannot leave out maps: channels must not fall, not {list(channels)}"
            )
        self.stem = _layer(dim_in, channels[0], 7, 2) if stem == "large" else _layer(dim_in, channels[0], 3)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1) if stem == "large" else nn.Identity()
        width, stages = channels[0], []
        for number, (depth, maps) in enumerate(zip(depths, channels, strict=True)):
            blocks = []
            for place in range(depth):
                stride = 2 if number > 0 and place == 0 else 1
                if block == "basic":
                    layers = _basic(width, maps, stride)
                else:
                    layers = _bottleneck(width, maps, stride, stride_in_1x1=stride_in_1x1)
                outputs = maps if block == "basic" else _EXPANSION * maps
                blocks.append(Residual(layers, _shortcut(width, outputs, stride, shortcut)))
                width = outputs
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.dim_out = width
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        convert_conv2d_weight_memory_format(self, torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, dim_in, height, width) to features (batch, dim_out)."""
        maps = self.stages(self.pool(self.stem(images)))  # (batch, dim_out, height / 2^(stages - 1), ...)
        features: Tensor = maps.mean((-2, -1))  # (batch, dim_out)
        return features

    def probe(self) -> list[Probe]:
        """Return the stem and what each block puts out."""
        blocks = {
            f"stage {number}, block {place}": block
            for number, stage in enumerate(self.stages, 1)
            for place, block in enumerate(stage.children(), 1)
        }
        return [Probe(name, layer, MAPS) for name, layer in {"stem": self.stem, **blocks}.items()]


class Residual(nn.Module):
    """A block: y = ReLU(F(x) + x) (equations 1 and 2), x brought to the size of F(x) by the shortcut."""

    def __init__(self, layers: nn.Sequential, shortcut: nn.Module) -> None:
        super().__init__()
        self.layers, self.shortcut = layers, shortcut

    def forward(self, maps: Tensor) -> Tensor:
        """Map (batch, width, height, width) to (batch, outputs, height / stride, width / stride)."""
        return functional.relu(self.layers(maps) + self.shortcut(maps), inplace=True)


class Padded(nn.Module):
    """Option A of section 3.3: every `stride`-th pixel, and maps of zeros behind those there are."""

    def __init__(self, num_new: int, stride: int) -> None:
        super().__init__()
        self.num_new, self.stride = num_new, stride

    def forward(self, maps: Tensor) -> Tensor:
        """Map (batch, width, ...) to (batch, width + num_new, ...)."""
        return functional.pad(maps[..., :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.num_new))


def _layer(
    dim_in: int, dim_out: int, kernel_size: int, stride: int = 1, *, last: bool = False
) -> nn.Sequential:
    """A convolution, batch normalisation right behind it (section 3.4), and ReLU but for the last one of a block."""
    # The normalisation subtracts the mean, and a bias with it.
    convolution = nn.Conv2d(dim_in, dim_out, kernel_size, stride, padding=kernel_size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(dim_out), *([] if last else [nn.ReLU(inplace=True)]))


def _basic(dim_in: int, maps: int, stride: int) -> nn.Sequential:
    return nn.Sequential(_layer(dim_in, maps, 3, stride), _layer(maps, maps, 3, last=True))


def _bottleneck(dim_in: int, maps: int, stride: int, *, stride_in_1x1: bool) -> nn.Sequential:
    first, second = (stride, 1) if stride_in_1x1 else (1, stride)
    return nn.Sequential(
        _layer(dim_in, maps, 1, first),
        _layer(maps, maps, 3, second),
        _layer(maps, _EXPANSION * maps, 1, last=True),
    )


def _shortcut(dim_in: int, dim_out: int, stride: int, kind: Shortcut) -> nn.Module:
    if dim_in == dim_out and stride == 1:
        return nn.Identity()
    return (
        Padded(dim_out - dim_in, stride)
        if kind == "padding"
        else _layer(dim_in, dim_out, 1, stride, last=True)
    )
