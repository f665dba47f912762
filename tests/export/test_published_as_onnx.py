"""Published models of every family as ONNX: onnxruntime computes what `transformers` computes, in any size."""

import pytest
import torch
from hugging_face.peers import network, peer, saved
from hugging_face.test_families import CASES

from nnkit.export import onnx_file
from nnkit.export.comparison import LIMIT, NAMES

pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")


def pictures(count):
    return (torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(count)),)


def tokens(count, time):
    return (torch.randint(1, 30, (count, time), generator=torch.Generator().manual_seed(time)),)


def texts(count, time):
    (inputs,) = tokens(count, time)
    mask = torch.arange(time) < torch.arange(time, time - count, -1)[:, None]
    return inputs * mask, mask


def pairs(count, time):
    inputs, mask = texts(count, time)
    return inputs, mask, ((torch.arange(time) > 2) & mask).long()


def classes(theirs, inputs):
    return [theirs(inputs).logits]


def classes_of_texts(theirs, inputs, mask):
    return [theirs(inputs, attention_mask=mask.long()).logits]


def masked_tokens(theirs, inputs, mask, segments):
    outputs = theirs(inputs, attention_mask=mask.long(), token_type_ids=segments)
    return [outputs.prediction_logits, outputs.seq_relationship_logits]


# What draws inputs, sizes other than those it is traced with, and what runs theirs.
FAMILIES = {
    "bert-classifier": (texts, [(4, 12), (1, 3), (2, 20)], classes_of_texts),
    "bert-pre-training": (pairs, [(4, 12), (1, 5), (2, 20)], masked_tokens),
    "gpt2": (tokens, [(4, 12), (1, 2), (2, 20)], classes),
    "llama": (tokens, [(4, 12), (1, 2), (2, 20)], classes),
    "vit": (pictures, [(5,), (1,)], classes),
    "resnet": (pictures, [(5,), (1,)], classes),
    "resnet-bottleneck": (pictures, [(5,), (1,)], classes),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_onnxruntime_computes_what_transformers_computes(name, tmp_path):
    kind, options, words = CASES[name]
    draw, sizes, run_theirs = FAMILIES[name]
    theirs = peer(kind, **options)
    ours, _, _ = network(saved(theirs, tmp_path), words)
    traced_with = (3,) if draw is pictures else (3, 7)
    run = onnx_file.runner(onnx_file.encode(ours, named(draw(*traced_with))))
    for size in sizes:
        given = draw(*size)
        with torch.no_grad():
            expected = run_theirs(theirs, *given)
        found = run(named(given))
        assert [one.shape for one in found] == [one.shape for one in expected]
        # What a model gives for padding means nothing.
        real = [slice(None)] * len(found) if name != "bert-pre-training" else [given[1], slice(None)]
        for one, other, where in zip(found, expected, real, strict=True):
            torch.testing.assert_close(one[where], other[where], atol=LIMIT, rtol=0)


def named(given):
    return dict(zip(NAMES, given, strict=False))
