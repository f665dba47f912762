"""Pictures of attention in TensorBoard: what a written-out softmax says, and no bit of the run moved."""

import io
import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import nnkit
from nnkit.batches import IGNORED, PairBatch, TextBatch
from nnkit.callbacks.tensorboard import AttentionPictures, attention_layers, attention_maps, recorded
from nnkit.checkpoint.store import CheckpointStore
from nnkit.config.changes import is_harmless
from nnkit.embeds.pair_tokens import PairTokens
from nnkit.embeds.tokens import Tokens as Embed
from nnkit.heads.classifier import Classifier
from nnkit.heads.language_model import LanguageModel
from nnkit.models.transformer import Transformer
from nnkit.models.transformer_encoder import TransformerEncoder
from nnkit.network import Network
from nnkit.tasks.classification import Classification
from nnkit.tasks.seq2seq import Seq2Seq

TEXT = "the cat sees a dog and the dog sees the cat\n" * 40
WORDS = [
    "data=text_file",
    "data.path=text.txt",
    "data.block_size=16",
    "model=gpt",
    "model.dim=16",
    "model.num_layers=2",
]
WORDS += ["model.num_heads=2", "model.dropout=0.2", "trainer.max_epochs=2", "trainer.num_threads=1", "seed=5"]


def train(*words, callbacks="checkpoint,attention", logger="tensorboard"):
    Path("text.txt").write_text(TEXT, encoding="utf-8")
    return nnkit.train([*WORDS, f"callbacks=[{callbacks}]", f"logger=[{logger}]", *words])


def pictures(run):
    """Return (step, picture) of every picture of attention."""
    with warnings.catch_warnings():
        # TensorBoard's own imports warn of what they use.
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(run.path / "tensorboard"), size_guidance={"images": 0})
        events.Reload()
    if "val/attention" not in events.Tags()["images"]:
        return []
    found = events.Images("val/attention")
    return [(event.step, np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))) for event in found]


def test_a_run_is_the_same_with_pictures_and_without():
    result, without = train(), train(callbacks="checkpoint")
    found = pictures(result.run)
    last = CheckpointStore(result.run.checkpoints).load("last")[1]["global_step"]
    assert [step for step, _ in found] == [last // 2, last]
    states = [CheckpointStore(one.run.checkpoints).load("last")[1]["state_dict"] for one in (result, without)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    logs = [(one.run.path / "metrics.jsonl").read_text() for one in (result, without)]
    assert [json.loads(line) for line in logs[0].splitlines()] == [
        json.loads(line) for line in logs[1].splitlines()
    ]
    # Two layers of two heads, each with 16 rows and columns of 11 pixels.
    assert min(found[0][1].shape[:2]) > 2 * 16 * 11
    assert not any(
        layer.record or layer.weights is not None for layer in attention_layers(result.session.task).values()
    )


def test_networks_without_attention_and_runs_without_tensorboard_have_none():
    plain = [word for word in WORDS if not word.startswith("model")]
    Path("text.txt").write_text(TEXT, encoding="utf-8")
    shape = ["model=lstm", "model.dim=8", "callbacks=[checkpoint,attention]"]
    assert pictures(nnkit.train([*plain, *shape, "trainer.max_steps=2"]).run) == []
    assert not (train("trainer.max_steps=2", logger="").run.path / "tensorboard").exists()


def test_a_small_number_of_epochs_between_two_pictures_is_refused():
    with pytest.raises(ValueError, match="every_n_epochs must be at least 1, not 0"):
        AttentionPictures(every_n_epochs=0)


def test_pictures_may_be_changed_when_a_run_goes_on():
    assert is_harmless("callbacks.attention.every_n_epochs")


def task(kind, network, **arguments):
    made = dict(loss=nn.CrossEntropyLoss(), target="index", make_optimizer=None, make_scheduler=None)
    return kind(network=network, **made, **arguments)


def tokens(*lengths):
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return TextBatch(
        torch.arange(mask.numel()).reshape(mask.shape) % 9, mask, torch.zeros(len(lengths)), torch.arange(2)
    )


def test_what_is_recorded_is_the_softmax_of_the_products():
    torch.manual_seed(0)
    network = Network(
        Embed(9, dim=8), TransformerEncoder(8, dim=8, num_layers=1, num_heads=2), Classifier(8, num_classes=3)
    )
    network.train()
    network.body.norm.eval()
    sample = task(Classification, network, num_classes=3).first_sample(tokens(4, 7))
    assert sample.inputs.shape == (1, 4)
    before = torch.get_rng_state()
    (weights,) = recorded(network, sample).values()
    assert torch.equal(torch.get_rng_state(), before)
    seen = []
    layer = network.body.layers[0]
    handle = layer.attention.query_key_value.register_forward_hook(
        lambda _, __, output: seen.append(output[0])
    )
    modes = [module.training for module in network.modules()]
    assert modes.count(False) == 1
    with torch.no_grad():
        network.eval()(sample.inputs, sample.mask)
    handle.remove()
    query, key, _ = (part.reshape(4, 2, 4) for part in seen[0].chunk(3, dim=-1))
    for head in range(2):
        for row in range(4):
            scores = [float(query[row, head] @ key[column, head]) / math.sqrt(4) for column in range(4)]
            total = sum(map(math.exp, scores))
            expected = torch.tensor([math.exp(score) / total for score in scores])
            torch.testing.assert_close(weights[head, row], expected, atol=1e-5, rtol=1e-5)


def test_an_encoder_decoder_has_source_and_target_on_its_axes():
    torch.manual_seed(0)
    network = Network(
        PairTokens(9, 9, dim=8),
        Transformer(8, dim=8, num_layers=1, num_heads=1),
        LanguageModel(8, vocab_size=9, tied=False, tied_dim=8),
    )
    target = torch.tensor([[3, 4, 1, IGNORED], [3, 3, 3, 1]])
    mask = torch.tensor([[True] * 5 + [False], [True] * 6])
    pairs = PairBatch(
        torch.arange(12).reshape(2, 6) % 9,
        mask,
        torch.tensor([[0, 3, 4, 0]] * 2),
        target,
        target[:, None],
        torch.arange(2),
    )

    class Data:
        def token_texts(self, numbers, *, target):
            return [f"{'target' if target else 'source'} {number}" for number in numbers]

    translator = task(Seq2Seq, network)
    sample = translator.first_sample(pairs)
    maps = {one.title: one for one in attention_maps(translator, recorded(network, sample), sample, Data())}
    source, written = [f"source {n}" for n in range(5)], ["target 0", "target 3", "target 4"]
    assert {title: (one.rows, one.columns) for title, one in maps.items()} == {
        "encoder.0.attention": (source, source),
        "decoder.0.attention": (written, written),
        "decoder.0.memory_attention": (written, source),
    }
    assert all(np.allclose(one.values.sum(-1), 1, atol=1e-5) for one in maps.values())
