"""GPT-2: `GPT2Model`, and with the head that scores the next token (Radford et al. 2019)."""

from nnkit.hugging_face.family import ACTIVATIONS, ConfigKey, Family, Head, Rule

_LAYER, _THEIRS = "body.layers.{}.", "h.{}."

GPT2 = Family(
    model_type="gpt2",
    target="nnkit.models.gpt.GPT",
    option="gpt",
    architecture="GPT2Model",
    prefix="transformer.",
    options=(
        ConfigKey("n_embd", "dim", 768),
        ConfigKey("n_layer", "num_layers", 12),
        ConfigKey("n_head", "num_heads", 12),
        ConfigKey("n_inner", "hidden", None),
        ConfigKey("n_positions", "max_len", 1024),
        ConfigKey("activation_function", "activation", "gelu_new", names=ACTIVATIONS),
        ConfigKey("layer_norm_epsilon", "eps", 1e-5),
        ConfigKey("resid_pdrop", "dropout", 0.1, is_free=True, also=("embd_pdrop", "attn_pdrop")),
    ),
    fixed={
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
        "add_cross_attention": False,
    },
    ours={"model.positions": "learned", "head.bias": False},
    rules=(
        Rule("embed.vectors.weight", ("wte.weight",)),
        Rule("body.positions.weight", ("wpe.weight",)),
        # Their matrices are those of a convolution of width 1, with inputs as rows.
        Rule(f"{_LAYER}attention.query_key_value.*", (f"{_THEIRS}attn.c_attn.*",), is_transposed=True),
        Rule(f"{_LAYER}attention.out.*", (f"{_THEIRS}attn.c_proj.*",), is_transposed=True),
        Rule(f"{_LAYER}attention_norm.*", (f"{_THEIRS}ln_1.*",)),
        Rule(f"{_LAYER}feed_forward.0.*", (f"{_THEIRS}mlp.c_fc.*",), is_transposed=True),
        Rule(f"{_LAYER}feed_forward.3.*", (f"{_THEIRS}mlp.c_proj.*",), is_transposed=True),
        Rule(f"{_LAYER}feed_forward_norm.*", (f"{_THEIRS}ln_2.*",)),
        Rule("body.norm.*", ("ln_f.*",)),
    ),
    heads={
        "nnkit.heads.language_model.LanguageModel": Head(
            "GPT2LMHeadModel",
            (Rule("head.linear.weight", ("lm_head.weight",)),),
            is_tied=True,
            copies=("lm_head.weight",),
        ),
    },
    # The causal triangle of earlier releases of their library.
    buffers=(r"h\.\d+\.attn\.(bias|masked_bias)",),
)
