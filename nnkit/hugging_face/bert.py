"""BERT: `BertModel`, and with the heads of pre-training and of classification (Devlin et al. 2019)."""

from nnkit.hugging_face.family import ACTIVATIONS, ConfigKey, Family, Head, Rule

_LAYER, _THEIRS = "body.layers.{}.", "encoder.layer.{}."
_PREDICTIONS = "cls.predictions."

BERT = Family(
    model_type="bert",
    target="nnkit.models.bert.BERT",
    option="bert",
    architecture="BertModel",
    prefix="bert.",
    options=(
        ConfigKey("hidden_size", "dim", 768),
        ConfigKey("num_hidden_layers", "num_layers", 12),
        ConfigKey("num_attention_heads", "num_heads", 12),
        ConfigKey("intermediate_size", "hidden", 3072, unset=lambda model: 4 * model["dim"]),
        ConfigKey("max_position_embeddings", "max_len", 512),
        ConfigKey("hidden_act", "activation", "gelu", names=ACTIVATIONS),
        ConfigKey("layer_norm_eps", "eps", 1e-12),
        ConfigKey(
            "hidden_dropout_prob", "dropout", 0.1, is_free=True, also=("attention_probs_dropout_prob",)
        ),
    ),
    fixed={
        "type_vocab_size": 2,
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "add_cross_attention": False,
    },
    rules=(
        Rule("embed.vectors.weight", ("embeddings.word_embeddings.weight",)),
        Rule("embed.segments.weight", ("embeddings.token_type_embeddings.weight",)),
        Rule("body.positions.weight", ("embeddings.position_embeddings.weight",)),
        Rule("body.norm.*", ("embeddings.LayerNorm.*",)),
        Rule(
            f"{_LAYER}attention.query_key_value.*",
            tuple(f"{_THEIRS}attention.self.{part}.*" for part in ("query", "key", "value")),
        ),
        Rule(f"{_LAYER}attention.out.*", (f"{_THEIRS}attention.output.dense.*",)),
        Rule(f"{_LAYER}attention_norm.*", (f"{_THEIRS}attention.output.LayerNorm.*",)),
        Rule(f"{_LAYER}feed_forward.0.*", (f"{_THEIRS}intermediate.dense.*",)),
        Rule(f"{_LAYER}feed_forward.3.*", (f"{_THEIRS}output.dense.*",)),
        Rule(f"{_LAYER}feed_forward_norm.*", (f"{_THEIRS}output.LayerNorm.*",)),
        Rule("body.pooler.*", ("pooler.dense.*",)),
    ),
    heads={
        "nnkit.heads.masked_lm.MaskedLM": Head(
            "BertForPreTraining",
            (
                Rule("head.transform.*", (f"{_PREDICTIONS}transform.dense.*",)),
                Rule("head.norm.*", (f"{_PREDICTIONS}transform.LayerNorm.*",)),
                Rule("head.vectors.weight", (f"{_PREDICTIONS}decoder.weight",)),
                Rule("head.bias", (f"{_PREDICTIONS}bias",)),
                Rule("head.follows.*", ("cls.seq_relationship.*",)),
            ),
            is_tied=True,
            copies=(f"{_PREDICTIONS}decoder.weight", f"{_PREDICTIONS}decoder.bias"),
            untied={f"{_PREDICTIONS}bias": f"{_PREDICTIONS}decoder.bias"},
            as_body=("activation", "eps"),
        ),
        "nnkit.heads.classifier.Classifier": Head(
            "BertForSequenceClassification",
            (Rule("head.linear.*", ("classifier.*",)),),
            without=("activation",),
        ),
    },
    # `BertForMaskedLM` has no pooler, and a mean over all steps needs none.
    spare=("body.pooler.",),
    left=("pooler.",),
    buffers=(r"embeddings\.position_ids",),
)
