"""ResNet: `ResNetModel`, and with the head that classifies (He et al. 2015)."""

from collections.abc import Mapping
from typing import Any

from nnkit.hugging_face.family import ConfigKey, Family, Head, Rule, SizeKey

_BLOCK, _THEIRS = "body.stages.{}.{}.", "encoder.stages.{}.layers.{}."
_EXPANSION = {"basic": 1, "bottleneck": 4}


class _Channels(ConfigKey):
    """Their sizes of the stages are what a block puts out, a bottleneck four times as many maps as its 3x3 has."""

    def read(self, config: Mapping[str, Any]) -> Any:
        times = _EXPANSION.get(config.get("layer_type", "bottleneck"), 1)
        sizes = super().read(config)
        if any(size % times for size in sizes):
            raise ValueError(f"{self.theirs} must be multiples of {times}, not {sizes}")
        return [size // times for size in sizes]

    def write(self, model: Mapping[str, Any]) -> dict[str, Any]:
        return {self.theirs: [_EXPANSION[model["block"]] * size for size in model[self.ours]]}


RESNET = Family(
    model_type="resnet",
    target="nnkit.models.resnet.ResNet",
    option="resnet18",
    architecture="ResNetModel",
    prefix="resnet.",
    options=(
        ConfigKey("layer_type", "block", "bottleneck", names={"basic": "basic", "bottleneck": "bottleneck"}),
        ConfigKey("depths", "depths", [3, 4, 6, 3]),
        _Channels("hidden_sizes", "channels", [256, 512, 1024, 2048]),
        ConfigKey("downsample_in_bottleneck", "stride_in_1x1", False),
    ),
    fixed={"hidden_act": "relu", "downsample_in_first_stage": False},
    derived=lambda model: {"embedding_size": model["channels"][0]},
    sizes=(SizeKey("num_channels", ("data.in_channels",), 3),),
    ours={"model.stem": "large", "model.shortcut": "projection"},
    rules=(
        Rule("body.stem.0.*", ("embedder.embedder.convolution.*",)),
        Rule("body.stem.1.*", ("embedder.embedder.normalization.*",)),
        Rule(f"{_BLOCK}layers.{{}}.0.*", (f"{_THEIRS}layer.{{}}.convolution.*",)),
        Rule(f"{_BLOCK}layers.{{}}.1.*", (f"{_THEIRS}layer.{{}}.normalization.*",)),
        Rule(f"{_BLOCK}shortcut.0.*", (f"{_THEIRS}shortcut.convolution.*",)),
        Rule(f"{_BLOCK}shortcut.1.*", (f"{_THEIRS}shortcut.normalization.*",)),
    ),
    heads={
        "nnkit.heads.classifier.Classifier": Head(
            "ResNetForImageClassification",
            (Rule("head.linear.*", ("classifier.1.*",)),),
            without=("activation",),
        ),
    },
)
