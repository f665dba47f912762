"""Vision Transformer: `ViTModel`, and with the head that classifies by the class token (Dosovitskiy et al. 2021)."""

from nnkit.hugging_face.family import ACTIVATIONS, ConfigKey, Family, Head, Rule, SizeKey

_LAYER, _THEIRS = "body.layers.{}.", "encoder.layer.{}."
_EMBEDDINGS = "embeddings."

VIT = Family(
    model_type="vit",
    target="nnkit.models.vit.ViT",
    option="vit",
    architecture="ViTModel",
    prefix="vit.",
    options=(
        ConfigKey("hidden_size", "dim", 768),
        ConfigKey("num_hidden_layers", "num_layers", 12),
        ConfigKey("num_attention_heads", "num_heads", 12),
        ConfigKey("patch_size", "patch_size", 16),
        ConfigKey("hidden_act", "activation", "gelu", names=ACTIVATIONS),
        ConfigKey("layer_norm_eps", "eps", 1e-12),
        ConfigKey("hidden_dropout_prob", "dropout", 0.0, is_free=True),
    ),
    fixed={"qkv_bias": True},
    derived=lambda model: {"intermediate_size": 4 * model["dim"]},
    sizes=(
        SizeKey("num_channels", ("data.in_channels",), 3),
        SizeKey("image_size", ("data.height", "data.width"), 224),
    ),
    rules=(
        Rule("body.class_token", (f"{_EMBEDDINGS}cls_token",), shape=lambda ours, model: (1, 1, *ours.shape)),
        Rule(
            "body.positions.weight",
            (f"{_EMBEDDINGS}position_embeddings",),
            shape=lambda ours, model: (1, *ours.shape),
        ),
        # Theirs is a convolution whose stride is the size of a patch.
        Rule(
            "embed.linear.weight",
            (f"{_EMBEDDINGS}patch_embeddings.projection.weight",),
            shape=lambda ours, model: (len(ours), -1, model["patch_size"], model["patch_size"]),
        ),
        Rule("embed.linear.bias", (f"{_EMBEDDINGS}patch_embeddings.projection.bias",)),
        Rule(
            f"{_LAYER}attention.query_key_value.*",
            tuple(f"{_THEIRS}attention.attention.{part}.*" for part in ("query", "key", "value")),
        ),
        Rule(f"{_LAYER}attention.out.*", (f"{_THEIRS}attention.output.dense.*",)),
        Rule(f"{_LAYER}attention_norm.*", (f"{_THEIRS}layernorm_before.*",)),
        Rule(f"{_LAYER}feed_forward.0.*", (f"{_THEIRS}intermediate.dense.*",)),
        Rule(f"{_LAYER}feed_forward.3.*", (f"{_THEIRS}output.dense.*",)),
        Rule(f"{_LAYER}feed_forward_norm.*", (f"{_THEIRS}layernorm_after.*",)),
        Rule("body.norm.*", ("layernorm.*",)),
    ),
    heads={
        "nnkit.heads.classifier.Classifier": Head(
            "ViTForImageClassification", (Rule("head.linear.*", ("classifier.*",)),), without=("activation",)
        ),
    },
    # What masks patches, and a layer behind the class token that classification does not use.
    left=("pooler.", f"{_EMBEDDINGS}mask_token"),
)
