"""Llama: `LlamaModel`, and with the head that scores the next token (Touvron et al. 2023)."""

from collections.abc import Mapping
from typing import Any

from nnkit.hugging_face.family import ConfigKey, Family, Head, Rule
from nnkit.models.llama import default_hidden

_LAYER, _THEIRS = "body.layers.{}.", "layers.{}."


def _derived(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dimension of a head, and the rotary embedding without the scaling of Llama 3.1 and later."""
    return {
        "head_dim": model["dim"] // max(model["num_heads"], 1),
        "rope_parameters": {"rope_theta": model["rotary_base"], "rope_type": "default"},
    }


LLAMA = Family(
    model_type="llama",
    target="nnkit.models.llama.Llama",
    option="llama",
    architecture="LlamaModel",
    prefix="model.",
    options=(
        ConfigKey("hidden_size", "dim", 4096),
        ConfigKey("intermediate_size", "hidden", 11008, unset=lambda model: default_hidden(model["dim"])),
        ConfigKey("num_hidden_layers", "num_layers", 32),
        ConfigKey("num_attention_heads", "num_heads", 32),
        ConfigKey("num_key_value_heads", "num_kv_heads", None),
        ConfigKey("max_position_embeddings", "max_len", 2048),
        ConfigKey("rope_theta", "rotary_base", 10_000.0),
        ConfigKey("rms_norm_eps", "eps", 1e-6),
        ConfigKey("attention_dropout", "dropout", 0.0, is_free=True),
    ),
    fixed={
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "rope_scaling": None,
    },
    derived=_derived,
    ours={"head.bias": False},
    rules=(
        Rule("embed.vectors.weight", ("embed_tokens.weight",)),
        Rule(
            f"{_LAYER}attention.query_key_value.*",
            tuple(f"{_THEIRS}self_attn.{part}_proj.*" for part in "qkv"),
            is_first_square=True,
        ),
        Rule(f"{_LAYER}attention.out.*", (f"{_THEIRS}self_attn.o_proj.*",)),
        Rule(f"{_LAYER}attention_norm.*", (f"{_THEIRS}input_layernorm.*",)),
        *(
            Rule(f"{_LAYER}feed_forward.{part}.*", (f"{_THEIRS}mlp.{part}_proj.*",))
            for part in ("gate", "up", "down")
        ),
        Rule(f"{_LAYER}feed_forward_norm.*", (f"{_THEIRS}post_attention_layernorm.*",)),
        Rule("body.norm.*", ("norm.*",)),
    ),
    heads={
        "nnkit.heads.language_model.LanguageModel": Head(
            "LlamaForCausalLM",
            (Rule("head.linear.weight", ("lm_head.weight",)),),
            is_tied=True,
            copies=("lm_head.weight",),
        ),
    },
    tie_default=False,
    # Frequencies, in directories of earlier releases of their library.
    buffers=(r"layers\.\d+\.self_attn\.rotary_emb\.inv_freq",),
)
