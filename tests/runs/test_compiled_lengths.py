"""`trainer.compile` where batches have several lengths: one code for all, and exact resume."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from exactness import assert_same_end, cut
from torch import nn

import nnkit
from nnkit.batches import TextBatch
from nnkit.checkpoint.store import CheckpointStore
from nnkit.runs.compiling import typical_batch
from nnkit.runs.resuming import resume
from nnkit.tasks.compiled import Compiled

COMPILED = "trainer.compile=true"


@pytest.fixture(autouse=True)
def nothing_is_compiled_yet():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def texts(length, size=4):
    mask = torch.ones(size, length, dtype=torch.bool)
    return TextBatch(torch.ones(size, length), mask, torch.arange(size), torch.arange(size))


class Graphs(list):
    """Runs graphs as they are, and keeps the sizes of the tensors that they were made for."""

    def __call__(self, graph, inputs):
        tensors = [one for one in inputs if isinstance(one, torch.Tensor)]
        self.append([getattr(size, "node", size) for size in tensors[0].shape])
        return graph.forward


@pytest.fixture
def graphs(monkeypatch):
    found = Graphs()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=found))
    return found


def same_after_resumes(run, tmp_path):
    """Resume in the middle of each epoch."""
    manifests = {one.step: one for one in CheckpointStore(run.checkpoints).manifests()}
    steps = max(manifests)
    middles = [manifests[steps // 4], manifests[3 * steps // 4]]
    for manifest in middles:
        torch._dynamo.reset()
        again = resume(str(cut(run, manifest, tmp_path / f"cut-{manifest.step}").path), show=False).run
        assert_same_end(run, again, f"from step {manifest.step}")


def made_for(graphs):
    """Return the sizes, which torch may lay loops out by, though the code holds for all."""
    return [[getattr(size, "hint", size) for size in sizes] for sizes in graphs]


@pytest.mark.parametrize("first", [(5, 4), (8, 8), (6, 6), (1, 4), (7, 1), (30, 3)])
def test_code_for_all_lengths_is_made_for_the_example_whatever_comes_first(graphs, first):
    """As a run that is resumed begins with another batch."""
    compiled = Compiled(lambda batch: (batch.inputs * 2).sum(), nn.Identity(), example=partial(texts, 6, 8))
    for length, size in (first, (7, 4), (8, 8), (6, 4), (30, 2)):
        assert compiled(texts(length, size)) == 2 * length * size
    assert made_for(graphs) == [[8, 6]]
    assert (compiled.graphs, compiled.recompiled) == (1, 0)
    # Code for one sample, or one token, would be code of another kind.
    assert compiled.uncompiled == int(1 in first)


def test_a_later_run_of_a_process_has_code_for_its_own_example(graphs):
    """As it has where it is resumed, in a process of its own."""

    def doubled(batch):
        return (batch.inputs * 2).sum()

    for length, size in ((6, 8), (9, 4)):
        compiled = Compiled(doubled, nn.Identity(), example=partial(texts, length, size))
        assert compiled(texts(7, 3)) == 42
        assert (compiled.graphs, compiled.uncompiled) == (1, 0)
    assert made_for(graphs) == [[8, 6], [4, 9]]


def test_an_example_as_long_as_it_has_samples_makes_code_for_all_lengths(graphs):
    compiled = Compiled(lambda batch: (batch.inputs * 2).sum(), nn.Identity(), example=partial(texts, 6, 6))
    assert compiled(texts(9, 4)) == 72
    assert (compiled.graphs, compiled.uncompiled) == (1, 0)


def test_where_a_view_begins_makes_no_difference(graphs):
    """Sample numbers are views of those of the epoch, and the first one begins at 0."""
    compiled = Compiled(lambda batch: batch.indices + 1, nn.Identity(), example=partial(texts, 6, 8))
    for start, step in ((0, 1), (1, 1), (5, 1), (3, 2)):
        indices = torch.arange(20)[start::step][:4]
        assert torch.equal(compiled(texts(7)._replace(indices=indices)), indices + 1)
    assert (compiled.graphs, compiled.uncompiled) == (1, 0)


def test_making_code_for_an_example_leaves_no_trace(without_code):
    """Neither in random generators nor in the statistics of batch norm."""
    network = nn.Sequential(nn.BatchNorm1d(3, momentum=0.5), nn.Dropout(0.5))
    plain, generators = deepcopy(network), torch.get_rng_state()
    batch = TextBatch(torch.randn(3, 4, 3), torch.ones(3, 4).bool(), torch.arange(3), torch.arange(3))

    def function(of):
        return lambda batch: of(batch.inputs.transpose(1, 2)).sum()

    example = TextBatch(torch.randn(5, 6, 3), torch.ones(5, 6).bool(), torch.arange(5), torch.arange(5))
    compiled = Compiled(function(network), network, example=lambda: example)
    torch.set_rng_state(generators)
    found = compiled(batch)
    torch.set_rng_state(generators)
    assert torch.equal(found, function(plain)(batch))
    assert network[0].num_batches_tracked == 1
    assert torch.equal(network[0].running_mean, plain[0].running_mean)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_the_moving_average_s_copy_is_not_compiled(tmp_path, without_code):
    """Nor does it take the data along, which its example comes from."""
    run = nnkit.train([*varied("lstm", tmp_path), "+callbacks=ema", "trainer.max_steps=5", COMPILED]).run
    assert run.record()["compiled"]["graphs"] > 0
    loaded = nnkit.load(run)
    loaded.task.compile_losses(example=loaded.data.train_dataloader)
    assert deepcopy(loaded.task).compiled is None


def test_torch_keeps_code_of_examples_of_other_sizes_apart(monkeypatch):
    """Its cache on disk does not tell them apart: code made for one serves the other."""
    tags = []

    def backend(graph, inputs):
        tags.append(torch.compiler.config.cache_key_tag)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    for length in (6, 7, 6):
        torch._dynamo.reset()
        Compiled(lambda batch: batch.inputs.sum(), nn.Identity(), example=partial(texts, length))(texts(9))
    assert tags[0] == tags[2] != tags[1]
    assert torch.compiler.config.cache_key_tag == ""


SMALL = ["model.dim=16", "model.num_heads=2", "model.num_layers=1"]
# Lengths from 5 to 60 characters, in batches of one epoch.
VARIED = {
    "transformer_encoder": ["model=transformer_encoder", *SMALL],
    "lstm": ["model=lstm", "model.dim=16"],
    "transformer": ["model=transformer", *SMALL],
    "bert": ["model=bert", *SMALL],
}
OF_LENGTHS = [
    *("trainer.max_epochs=2", "trainer.num_threads=1", "trainer.log_every_n_steps=1", "logger=[]"),
    *("callbacks=[checkpoint,nan_guard]", "callbacks.checkpoint.every_n_steps=2"),
    "callbacks.checkpoint.keep_last=99",
]


def varied(model, folder):
    """Return the words of a training on texts, pairs or sentences of several lengths."""
    words = ["the", "old", "cat", "saw", "a", "small", "dog", "and", "went", "home"]
    lines = [" ".join(words[(3 * row + step) % 10] for step in range(1 + row % 9)) for row in range(72)]
    if model == "bert":
        text = "\n\n".join(".\n".join(lines[row : row + 6]) + "." for row in range(0, 72, 3))
        data = ["data=text_pairs_file", "data.max_length=32"]
    elif model == "transformer":
        text = "\n".join(f"{line}\t{line[::-1]}!" for line in lines)
        data = ["data=text_pairs", "data.joint=true"]
    else:
        text = "\n".join(["text,label", *(f"{line},{len(line) % 2}" for line in lines)])
        data = ["data=text_csv"]
    path = folder / "varied.csv"
    path.write_text(text)
    return [*data, f"data.path={path}", "data.batch_size=8", *VARIED[model], *OF_LENGTHS]


# torch looks at the gradient of whatever a graph is given, where a network is cut into several.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(name, marks=pytest.mark.slow if name in ("transformer", "bert") else ())
        for name in VARIED
    ],
)
def test_traced_graphs_for_several_lengths_resume_exactly(tmp_path, without_code, model):
    run = nnkit.train([*varied(model, tmp_path), COMPILED]).run
    assert run.record()["compiled"]["recompiled"] == 0
    # The last sentences of an epoch are one pair.
    assert run.record()["compiled"]["uncompiled"] == (2 if model == "bert" else 0)
    same_after_resumes(run, tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")
def test_compiled_code_for_several_lengths_resumes_exactly(tmp_path):
    words = [*varied("transformer_encoder", tmp_path), "trainer.precision=bf16-mixed"]
    run = nnkit.train([*words, COMPILED]).run
    assert {key: run.record()["compiled"][key] for key in ("recompiled", "uncompiled")} == {
        "recompiled": 0,
        "uncompiled": 0,
    }
    eager = nnkit.train(words).run
    lines = [(one.path / "metrics.jsonl").read_text() for one in (run, eager)]
    assert lines[0] != lines[1]
    same_after_resumes(run, tmp_path)


def test_the_typical_batch_is_the_same_one_wherever_a_run_is_resumed(tmp_path):
    data = nnkit.load(nnkit.train([*varied("transformer", tmp_path), "trainer.max_steps=1"]).run).data
    first = typical_batch(data)
    data.resume_at(3, 5)
    again = typical_batch(data)
    assert torch.equal(first.indices, again.indices)
    sizes = [len(first.inputs), first.inputs.shape[1], first.prefix.shape[1]]
    assert len({*sizes, 1}) == 4
    assert len(typical_batch(data, 2).inputs) == len(first.inputs) // 2
