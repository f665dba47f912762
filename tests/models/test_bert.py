"""BERT against Hugging Face's BertForPreTraining, the paper's count, and what a reader in both directions must do."""

import warnings

import pytest
import torch
from omegaconf import open_dict

import nnkit
from nnkit.batches import IGNORED, SentenceBatch
from nnkit.embeds.sentences import Sentences as Embed
from nnkit.factory import build_network
from nnkit.heads.masked_lm import MaskedLM as Head
from nnkit.losses.cross_entropy import CrossEntropy
from nnkit.models.bert import BERT
from nnkit.network import Network
from nnkit.tasks.masked_lm import MaskedLM

VOCAB, DIM, LAYERS, HEADS, LENGTH = 60, 32, 3, 4, 20
LENGTHS = torch.tensor([20, 7, 13, 9])


def network(dropout=0.0, tied=True):
    torch.manual_seed(0)
    body = BERT(DIM, dim=DIM, num_layers=LAYERS, num_heads=HEADS, max_len=LENGTH + 4, dropout=dropout)
    return Network(Embed(VOCAB, dim=DIM), body, Head(DIM, VOCAB, tied=tied, tied_dim=DIM))


def task(net):
    return MaskedLM(
        network=net, loss=CrossEntropy(), target="index", make_optimizer=None, make_scheduler=None
    )


def batch():
    drawn = torch.Generator().manual_seed(1)
    mask = torch.arange(LENGTH) < LENGTHS[:, None]
    inputs = torch.randint(1, VOCAB, (len(LENGTHS), LENGTH), generator=drawn) * mask
    segments = ((torch.arange(LENGTH) >= LENGTHS[:, None] // 2) & mask).long()
    hidden = mask & (torch.rand(mask.shape, generator=drawn) < 0.3)
    hidden[:, 2] = True
    target = torch.randint(1, VOCAB, mask.shape, generator=drawn).masked_fill(~hidden, IGNORED)
    return SentenceBatch(
        inputs, mask, segments, target, torch.tensor([0, 1, 1, 0]), torch.arange(len(LENGTHS))
    )


@pytest.fixture(scope="module")
def peer():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import BertConfig, BertForPreTraining

        config = BertConfig(
            vocab_size=VOCAB,
            hidden_size=DIM,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            intermediate_size=4 * DIM,
            max_position_embeddings=LENGTH + 4,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            attn_implementation="eager",
        )
        torch.manual_seed(3)
        model = BertForPreTraining(config)
    # Biases and gains begin at 0 and 1, where a mistake in them would not be seen.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model


def counterparts(model):
    """Return our name of each weight with the tensors of the peer's that make it up, one above the other."""
    bert, heads = model.bert, model.cls
    found = {
        "embed.vectors.weight": [bert.embeddings.word_embeddings.weight],
        "embed.segments.weight": [bert.embeddings.token_type_embeddings.weight],
        "body.positions.weight": [bert.embeddings.position_embeddings.weight],
        "head.bias": [heads.predictions.decoder.bias],
    }
    pairs = {
        "body.norm": bert.embeddings.LayerNorm,
        "body.pooler": bert.pooler.dense,
        "head.transform": heads.predictions.transform.dense,
        "head.norm": heads.predictions.transform.LayerNorm,
        "head.follows": heads.seq_relationship,
    }
    for number, layer in enumerate(bert.encoder.layer):
        name = f"body.layers.{number}"
        pairs |= {
            f"{name}.attention.out": layer.attention.output.dense,
            f"{name}.attention_norm": layer.attention.output.LayerNorm,
            f"{name}.feed_forward.0": layer.intermediate.dense,
            f"{name}.feed_forward.3": layer.output.dense,
            f"{name}.feed_forward_norm": layer.output.LayerNorm,
        }
        own = layer.attention.self
        for kind in ("weight", "bias"):
            found[f"{name}.attention.query_key_value.{kind}"] = [
                getattr(part, kind) for part in (own.query, own.key, own.value)
            ]
    for name, part in pairs.items():
        found |= {f"{name}.weight": [part.weight], f"{name}.bias": [part.bias]}
    return found


@pytest.fixture
def twins(peer):
    ours = network()
    with torch.no_grad():
        state = {name: torch.cat(list(parts)) for name, parts in counterparts(peer).items()}
        ours.load_state_dict(state)
    peer.zero_grad()
    return ours, peer


def assert_close(one, other):
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_features_summary_and_logits_are_those_of_hugging_face(twins):
    ours, peer = twins
    given = batch()
    theirs = {"attention_mask": given.mask.long(), "token_type_ids": given.segments}
    with torch.no_grad():
        features, _ = ours.body(ours.embed(given.inputs, given.segments), given.mask)
        expected = peer.bert(given.inputs, **theirs)
        assert_close(features[given.mask], expected.last_hidden_state[given.mask])
        assert_close(ours.body.summary(features, given.mask), expected.pooler_output)
        where = given.target != IGNORED
        tokens, follows = ours(given.inputs, given.mask, given.segments, where)
        logits = peer(given.inputs, **theirs)
    assert_close(tokens, logits.prediction_logits[where])
    assert_close(follows, logits.seq_relationship_logits)


def test_the_loss_and_every_gradient_are_those_of_hugging_face(twins):
    ours, peer = twins
    given = batch()
    loss, _ = task(ours).score(given)
    expected = peer(
        given.inputs,
        attention_mask=given.mask.long(),
        token_type_ids=given.segments,
        labels=given.target,
        next_sentence_label=given.next_label,
    ).loss
    assert_close(loss, expected)
    loss.backward()
    expected.backward()
    gradients = {name: torch.cat([part.grad for part in parts]) for name, parts in counterparts(peer).items()}
    assert gradients.keys() == dict(ours.named_parameters()).keys()
    for name, parameter in ours.named_parameters():
        assert_close(parameter.grad, gradients[name])


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_the_masked_lm_head_has_the_activation_of_the_model(activation):
    from transformers import BertConfig
    from transformers.models.bert.modeling_bert import BertPredictionHeadTransform

    words = ["model=bert_tiny", "data=pydocs_pairs", "data.vocab_size=50", f"model.activation={activation}"]
    config = nnkit.compose(words).config
    head = build_network(config).head
    assert config.head.activation == activation
    options = {"hidden_size": config.model.dim, "hidden_act": activation, "layer_norm_eps": 1e-12}
    peer = BertPredictionHeadTransform(BertConfig(**options))
    peer.dense, peer.LayerNorm = head.transform, head.norm
    features = torch.randn(7, config.model.dim)
    # The identity in place of the vectors shows what the transform returns.
    found = head(features, torch.eye(config.model.dim)[: len(head.bias)])
    assert_close(found, peer(features)[:, : len(head.bias)])


def test_a_config_from_before_the_head_followed_the_model_keeps_gelu():
    words = ["model=bert_tiny", "data=pydocs_pairs", "data.vocab_size=50", "model.activation=relu"]
    config = nnkit.compose(words).config
    with open_dict(config):
        del config.head["activation"]
    assert isinstance(build_network(config).head.activation, torch.nn.GELU)


def test_the_paper_s_size_has_the_paper_s_number_of_parameters():
    config = nnkit.compose(["model=bert_base", "data=pydocs_pairs", "data.vocab_size=30522"]).config
    with torch.device("meta"):
        built = build_network(config)
    count = sum(part.numel() for module in (built.embed, built.body) for part in module.parameters())
    assert count == 109_482_240
    # As Hugging Face's BertForPreTraining counts, tied weights once.
    assert sum(part.numel() for part in built.parameters()) == 110_106_428


def test_padding_changes_nothing():
    net, given = network().eval(), batch()
    padded = [torch.nn.functional.pad(part, (0, 4)) for part in given[:3]]
    padded[0][:, LENGTH:] = 5
    where = given.target != IGNORED
    with torch.no_grad():
        expected = net(given.inputs, given.mask, given.segments, where)
        wider = net(*padded, torch.nn.functional.pad(where, (0, 4)))
    for one, other in zip(wider, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_every_token_is_seen_from_every_other_and_sentences_are_told_apart():
    net, given = network().eval(), batch()
    vectors = net.embed(given.inputs, given.segments).detach().requires_grad_()
    for seen, step in ((0, 5), (5, 0)):
        (gradient,) = torch.autograd.grad(net.body(vectors)[0][:, seen].square().sum(), vectors)
        assert gradient[:, step].abs().sum() > 0
    assert not net.body.causal
    assert torch.equal(net.embed(given.inputs), net.embed(given.inputs, torch.zeros_like(given.segments)))
    assert not torch.equal(net.embed(given.inputs), net.embed(given.inputs, given.segments))


def test_labelled_texts_are_read_by_the_same_weights():
    words = ["model=bert_tiny", "data.vocab_size=300"]
    networks = []
    for data in (["data=pydocs_pairs"], ["data=langid", "data.markers=true"]):
        with torch.device("meta"):
            networks.append(build_network(nnkit.compose([*words, *data]).config))
    shapes = [
        {name: tensor.shape for name, tensor in one.state_dict().items() if not name.startswith("head.")}
        for one in networks
    ]
    assert shapes[0] == shapes[1]
    assert type(networks[1].head).__name__ == "Classifier"


def test_a_batch_is_learnt_by_heart():
    net, given = network(tied=False), batch()
    learning, optimizer = task(net), torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(60):
        loss, _ = learning.score(given)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    learning.evaluate(given)
    results = learning.results()
    assert results["masked_accuracy"] == results["next_sentence_accuracy"] == 1


@pytest.mark.parametrize("argument", ["dim", "num_layers", "max_len", "num_heads"])
def test_numbers_below_one_are_refused(argument):
    with pytest.raises(ValueError, match=f"{argument} must be at least 1, not 0"):
        BERT(8, **{"dim": 8, "num_layers": 1, "num_heads": 1, argument: 0})


def test_more_steps_than_positions_are_refused():
    with pytest.raises(ValueError, match="25 steps are more than max_len, 24"):
        network().body(torch.zeros(1, 25, DIM))
