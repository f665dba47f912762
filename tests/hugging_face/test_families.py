"""Each model type against `transformers`: outputs, loss and gradients of what is read, and of what is written."""

import pytest
import torch
from hugging_face.peers import BERT, GPT2, LLAMA, RESNET, VIT, network, peer, saved, written
from torch.nn.functional import cross_entropy

from nnkit.errors import ConfigError

TOKENS = [
    "data=langid",
    "data.vocab_size=30",
    "data.markers=true",
    "data.max_length=20",
    "data.num_classes=3",
]
CLASSIFIER = ["model=bert", *TOKENS]
PAIRS = ["model=bert", "data=pydocs_pairs", "data.vocab_size=30", "data.max_length=20"]
TEXT = ["model=gpt", "data=shakespeare", "data.vocab_size=30", "data.block_size=20"]
LLAMA_TEXT = ["model=llama", *TEXT[1:]]
PICTURES = ["data.in_channels=1", "data.height=28", "data.width=28", "data.num_classes=10"]
CASES = {
    "bert-classifier": ("BertForSequenceClassification", {**BERT, "num_labels": 3}, CLASSIFIER),
    "bert-pre-training": ("BertForPreTraining", BERT, PAIRS),
    "bert-untied": ("BertForPreTraining", {**BERT, "tie_word_embeddings": False}, PAIRS),
    "gpt2": ("GPT2LMHeadModel", GPT2, TEXT),
    "llama": ("LlamaForCausalLM", LLAMA, LLAMA_TEXT),
    "llama-tied": (
        "LlamaForCausalLM",
        {**LLAMA, "num_key_value_heads": 4, "tie_word_embeddings": True},
        LLAMA_TEXT,
    ),
    "vit": ("ViTForImageClassification", VIT, ["model=vit", "data=mnist", *PICTURES]),
    "resnet": ("ResNetForImageClassification", RESNET, ["model=resnet18", "data=mnist", *PICTURES]),
    "resnet-bottleneck": (
        "ResNetForImageClassification",
        {**RESNET, "layer_type": "bottleneck", "hidden_sizes": [16, 32], "downsample_in_bottleneck": True},
        ["model=resnet18", "data=mnist", *PICTURES],
    ),
    "gpt2-untied": ("GPT2LMHeadModel", {**GPT2, "n_inner": None, "tie_word_embeddings": False}, TEXT),
}


def close(one, other):
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def given():
    drawn = torch.Generator().manual_seed(5)
    inputs = torch.randint(1, 30, (3, 12), generator=drawn)
    mask = torch.arange(12) < torch.tensor([12, 5, 9])[:, None]
    segments = ((torch.arange(12) > 3) & mask).long()
    return inputs * mask, mask, segments


def both(ours, theirs, name):
    """Return pairs of outputs, and of losses of all they return."""
    inputs, mask, segments = given()
    target = inputs.roll(-1, 1)
    if name.startswith(("vit", "resnet")):
        pictures = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(6))
        one, other, target = ours(pictures), theirs(pictures).logits, torch.tensor([0, 9, 4])
    elif name.startswith(("gpt2", "llama")):
        one, other = ours(inputs), theirs(inputs).logits
    elif name == "bert-classifier":
        one, other = ours(inputs, mask), theirs(inputs, attention_mask=mask.long()).logits
        target = torch.tensor([0, 2, 1])
    else:
        output = theirs(inputs, attention_mask=mask.long(), token_type_ids=segments)
        (one, follows), other = ours(inputs, mask, segments), output.prediction_logits
        close(follows, output.seq_relationship_logits)
        one, other, target = one[mask], other[mask], target[mask]
    return one, other, [cross_entropy(each.flatten(0, -2), target.flatten()) for each in (one, other)]


@pytest.mark.parametrize("name", CASES)
def test_what_is_read_is_what_transformers_computes(name, tmp_path):
    kind, options, words = CASES[name]
    theirs = peer(kind, **options)
    directory = saved(theirs, tmp_path)
    ours, _, taken = network(directory, words)
    assert not taken.fresh and not taken.left
    one, other, (loss, expected) = both(ours, theirs, name)
    close(one, other)
    close(loss, expected)
    loss.backward()
    expected.backward()
    # Gradients go the way of the weights: put together by the same rules they must be the same.
    gradients = {key: value.grad for key, value in theirs.named_parameters() if value.grad is not None}
    gradients |= {of_files(key): value for key, value in gradients.items()}
    compared = 0
    for own, parameter in ours.named_parameters():
        if parameter.grad is not None:
            found = (
                directory.family.find(own, kind, directory.family.prefix) for kind in directory.family.heads
            )
            rule, names = next(one for one in found if one is not None)
            names = [
                each if each in gradients else each.replace("predictions.", "predictions.decoder.")
                for each in names
            ]
            close(parameter.grad, rule.join([gradients[each] for each in names], parameter.shape))
            compared += 1
    assert compared > 10


def of_files(name):
    """Return what a file calls a weight of their ViT, whose layers have other names in the program."""
    pairs = [
        ("vit.layers.", "vit.encoder.layer."),
        ("q_proj", "attention.query"),
        ("k_proj", "attention.key"),
    ]
    pairs += [("v_proj", "attention.value"), ("attention.o_proj", "attention.output.dense")]
    pairs += [("mlp.fc1", "intermediate.dense"), ("mlp.fc2", "output.dense")]
    if name.startswith("vit."):
        for now, before in pairs:
            name = name.replace(now, before)
    return name


@pytest.mark.parametrize("name", CASES)
def test_what_is_written_is_read_by_transformers_and_again_by_us_bit_for_bit(name, tmp_path):
    import transformers

    kind, options, words = CASES[name]
    ours, config, _ = network(saved(peer(kind, **options), tmp_path / "first"), words)
    assert written(tmp_path / "second", ours, config) == []
    theirs, said = getattr(transformers, kind).from_pretrained(tmp_path / "second", output_loading_info=True)
    assert not any(said[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys")), said
    one, other, _ = both(ours, theirs.eval(), name)
    close(one, other)
    again, _, taken = network(saved_again(tmp_path / "second"), words)
    assert not taken.fresh and not taken.left
    for key, tensor in ours.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key]), key


def saved_again(folder):
    from nnkit.hugging_face import Directory

    return Directory(folder)


def test_a_mean_over_all_steps_is_written_for_sentence_transformers_and_its_head_is_kept(tmp_path):
    ours, config, taken = network(saved(peer("BertModel", **BERT), tmp_path / "first"), CLASSIFIER)
    assert taken.fresh == ["head.linear.weight", "head.linear.bias"]
    words = [*CLASSIFIER, "model.pooling=mean"]
    ours, config, taken = network(saved_again(tmp_path / "first"), words)
    assert taken.left == ["pooler.dense.bias", "pooler.dense.weight"]
    (said,) = written(tmp_path / "second", ours, config)
    assert "BertModel" in said
    again, config, taken = network(saved_again(tmp_path / "second"), CLASSIFIER)
    assert config.model.pooling == "mean" and not taken.fresh and not taken.left
    for key, tensor in ours.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key]), key


def test_a_masked_lm_without_a_pooler_leaves_ours_fresh(tmp_path):
    theirs = peer("BertForMaskedLM", **BERT)
    ours, _, taken = network(saved(theirs, tmp_path), PAIRS)
    assert not taken.left
    assert taken.fresh == [
        f"{part}.{kind}" for part in ("body.pooler", "head.follows") for kind in ("weight", "bias")
    ]
    inputs, mask, segments = given()
    logits = theirs(inputs, attention_mask=mask.long(), token_type_ids=segments).logits
    close(ours(inputs, mask, segments)[0][mask], logits[mask])


def test_what_their_library_has_no_model_for_is_refused_and_nothing_is_written(tmp_path):
    ours, config, _ = network(saved(peer("GPT2LMHeadModel", **GPT2), tmp_path / "first"), TEXT)
    config.model.positions = "rotary"
    config.head._target_ = "nnkit.heads.classifier.Classifier"
    with pytest.raises(ConfigError, match=r"model\.positions: .*learned[^?]*head: gpt2 has no"):
        written(tmp_path / "second", ours, config)
    config.model._target_ = "nnkit.models.mlp.MLP"
    with pytest.raises(ConfigError, match=r"no counterpart of nnkit\.models\.mlp\.MLP"):
        written(tmp_path / "second", ours, config)
    assert not (tmp_path / "second").exists()
