"""`trainer.compile`: exact resume, shapes that are compiled for, what is missing or fails, and what `auto` chooses."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from exactness import assert_same_end, cut
from torch import nn

import nnkit
from nnkit.batches import TextBatch
from nnkit.checkpoint.store import CheckpointStore
from nnkit.runs import fastest
from nnkit.runs.resuming import resume
from nnkit.runs.trial_steps import TrialSteps
from nnkit.tasks.compiled import Compiled

# 25 batches an epoch and one that is smaller, dropout and mixed precision.
WORDS = [
    "data=digits",
    "model=mlp",
    "model.hidden=[16]",
    "model.dropout=0.2",
    "data.subset=0.25",
    "data.batch_size=40",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
    "trainer.num_threads=1",
    "logger=[]",
    "callbacks=[checkpoint,nan_guard]",
    "callbacks.checkpoint.every_n_steps=3",
    "callbacks.checkpoint.keep_last=99",
]
COMPILED = "trainer.compile=true"
AUTO = "trainer.compile=auto"


@pytest.fixture(autouse=True)
def nothing_is_compiled_yet(tmp_path, monkeypatch):
    monkeypatch.setattr("nnkit.runs.measured.cache.cache_dir", lambda: tmp_path / "cache")
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def seen(monkeypatch):
    """Return the numbers of samples of the batches that graphs were traced for."""
    counts = []
    count = Compiled._count

    def noted(self, more, seconds, batch):
        counts.append(len(batch.inputs))
        count(self, more, seconds, batch)

    monkeypatch.setattr(Compiled, "_count", noted)
    return counts


def same_after_every_resume(run, tmp_path):
    manifests = CheckpointStore(run.checkpoints).manifests()
    assert len(manifests) >= 6
    for manifest in manifests[1:]:
        torch._dynamo.reset()
        again = resume(str(cut(run, manifest, tmp_path / f"cut-{manifest.step}").path), show=False).run
        assert_same_end(run, again, f"from step {manifest.step}")


@pytest.mark.slow
# torch's own compiler imports what torch has deprecated.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")
def test_compiled_code_resumes_exactly(tmp_path):
    run = nnkit.train([*WORDS, COMPILED, "trainer.precision=bf16-mixed"]).run
    assert run.record()["compiled"]["graphs"] == 1
    eager = nnkit.train([*WORDS, "trainer.precision=bf16-mixed"]).run
    lines = [(one.path / "metrics.jsonl").read_text() for one in (run, eager)]
    assert lines[0] != lines[1]
    same_after_every_resume(run, tmp_path)


def test_traced_graphs_resume_exactly(tmp_path, without_code):
    same_after_every_resume(nnkit.train([*WORDS, COMPILED]).run, tmp_path)


def test_one_graph_serves_a_training_and_the_last_batch_of_an_epoch_needs_none(without_code, seen):
    run = nnkit.train([*WORDS, COMPILED]).run
    assert seen == [40]
    assert {key: run.record()["compiled"][key] for key in ("graphs", "recompiled")} == {
        "graphs": 1,
        "recompiled": 0,
    }
    assert "compiled for batches of 40 x 1 x 8 x 8" in (run.path / "train.log").read_text()


def test_convolutions_and_pooling_are_in_one_graph(without_code):
    words = [
        "data=digits",
        "model=lenet5",
        "data.batch_size=40",
        "trainer.max_steps=3",
        "trainer.num_threads=1",
    ]
    run = nnkit.train([*words, "logger=[]", "callbacks=[checkpoint]", COMPILED]).run
    assert run.record()["compiled"]["graphs"] == 1


@pytest.mark.parametrize("model", ["gpt", "llama"])
@pytest.mark.parametrize("words", [[], ["trainer.precision=bf16-mixed"], ["trainer.matmul_precision=medium"]])
def test_attention_and_loss_are_in_one_graph(tmp_path, without_code, model, words):
    """Written out or torch's own kernel: nothing that is asked cuts the graph."""
    (tmp_path / "prose.txt").write_text("the cat sees a dog, and the dog sees the cat\n" * 200)
    small = [
        "model.dim=16",
        "model.num_layers=1",
        "model.num_heads=2",
        "data.block_size=16",
        "data.batch_size=8",
    ]
    run = nnkit.train([
        "data=text_file", f"data.path={tmp_path}/prose.txt", f"model={model}", *small, "trainer.max_steps=3",
        "trainer.num_threads=1", "logger=[]", "callbacks=[checkpoint]", COMPILED, *words,
    ]).run  # fmt: skip
    torch.set_float32_matmul_precision("highest")
    assert run.record()["compiled"]["graphs"] == 1


def texts(length, size=4):
    mask = torch.ones(size, length, dtype=torch.bool)
    return TextBatch(torch.ones(size, length), torch.zeros(size), torch.arange(size), mask)


def test_each_shape_has_its_code_where_shapes_are_few_and_is_counted(without_code, caplog):
    compiled = Compiled(lambda batch: (batch.inputs * 2).sum(), nn.Identity(), {4})
    for length, size in ((5, 4), (5, 4), (7, 4), (5, 3), (5, 4), (7, 4)):
        assert compiled(texts(length, size)) == 2 * length * size
    assert (compiled.graphs, compiled.recompiled, compiled.uncompiled) == (2, 1, 1)
    assert [record.getMessage()[:36] for record in caplog.records if record.levelname == "WARNING"] == [
        "compiled again for a batch of 4 x 7 "
    ]


def test_without_a_compiler_a_sentence_is_written_and_the_run_goes_on():
    from torch._inductor import config, cpp_builder

    plain = nnkit.train([*WORDS, "name=plain"]).run
    cpp_builder.cpp_compiler_search.cache_clear()
    with config.patch({"cpp.cxx": (None, "no-such-compiler")}):
        run = nnkit.train([*WORDS, COMPILED, "name=compiled"]).run
    cpp_builder.cpp_compiler_search.cache_clear()
    assert run.settings()["trainer.compile"] is False
    assert (run.path / "metrics.jsonl").read_bytes() == (plain.path / "metrics.jsonl").read_bytes()
    log = (run.path / "train.log").read_text()
    assert "trainer.compile=true: this machine has no C++ compiler; g++ or clang++ would do." in log


def refuse(graph, inputs):
    raise ValueError("no such processor")


def test_where_compiling_fails_the_run_goes_on_as_if_nothing_had_been_tried(monkeypatch):
    plain = nnkit.train([*WORDS, "name=plain"]).run
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=refuse))
    run = nnkit.train([*WORDS, COMPILED, "name=compiled"]).run
    assert (run.path / "metrics.jsonl").read_bytes() == (plain.path / "metrics.jsonl").read_bytes()
    assert "no such processor; the run goes on without it" in (run.path / "train.log").read_text()


def one_cut(run, tmp_path, name):
    return str(cut(run, CheckpointStore(run.checkpoints).manifests()[2], tmp_path / name).path)


def test_what_could_not_be_compiled_is_not_compiled_where_it_goes_on(monkeypatch, tmp_path, without_code):
    with monkeypatch.context() as patched:
        patched.setattr(torch, "compile", partial(torch.compile, backend=refuse))
        run = nnkit.train([*WORDS, COMPILED]).run
    again = resume(one_cut(run, tmp_path, "cut"), show=False).run
    assert again.record()["compiled"]["graphs"] == 0
    assert_same_end(run, again, "not compiled")
    assert "exact: no" not in (again.path / "train.log").read_text()


def test_a_resume_that_is_not_compiled_any_more_is_not_called_exact(
    monkeypatch, tmp_path, without_code, capsys
):
    from torch._inductor import config, cpp_builder

    run = nnkit.train([*WORDS, COMPILED]).run
    with monkeypatch.context() as patched:
        patched.setattr(torch, "compile", partial(torch.compile, backend=refuse))
        again = resume(one_cut(run, tmp_path, "refused"), show=False).run
    log = (again.path / "train.log").read_text()
    assert "exact: no, it was compiled until now, so that bits may differ from here on" in log
    cpp_builder.cpp_compiler_search.cache_clear()
    with config.patch({"cpp.cxx": (None, "no-such-compiler")}):
        resume(one_cut(run, tmp_path, "alone"))
    cpp_builder.cpp_compiler_search.cache_clear()
    out, _ = capsys.readouterr()
    assert "exact: no, it was compiled until now and is not here" in " ".join(out.split())


def test_a_second_graph_that_cannot_be_compiled_leaves_no_trace_of_the_first(monkeypatch):
    """The first one has drawn from the random generator and counted in batch norm by then."""

    seen = []

    def backend(graph, inputs):
        seen.append(graph)
        if len(seen) > 1:
            raise ValueError("no such processor")
        return graph.forward

    network = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5))
    plain = deepcopy(network)

    def function(of):
        def losses(batch):
            outputs = of(batch.inputs)
            torch._dynamo.graph_break()
            return (outputs * outputs).sum()

        return losses

    batch = TextBatch(torch.randn(8, 3), torch.ones(8, 3).bool(), torch.arange(8), torch.arange(8))
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    compiled = Compiled(function(network), network, rows={8})
    generator = torch.get_rng_state()
    found = [compiled(batch) for _ in range(2)]
    assert compiled.uncompiled == 2
    torch.set_rng_state(generator)
    assert [one.item() for one in found] == [function(plain)(batch).item() for _ in range(2)]
    assert network[0].num_batches_tracked == 2
    assert torch.equal(network[0].running_mean, plain[0].running_mean)


def test_a_process_compiles_any_number_of_networks(monkeypatch, without_code):
    """torch takes code of one function for a few networks only, and would compute that of the next piece by piece."""
    monkeypatch.setattr("nnkit.tasks.compiled._MOST_GRAPHS", 2)
    batch = TextBatch(torch.randn(8, 3), torch.ones(8, 3).bool(), torch.arange(8), torch.arange(8))
    for width in range(1, 6):
        network = nn.Linear(3, width)
        compiled = Compiled(lambda batch, of=network: of(batch.inputs).sum(), network, rows={8})
        compiled(batch)
        assert (compiled.graphs, compiled.uncompiled) == (1, 0)


@pytest.fixture
def paced(monkeypatch):
    """Return the seconds that a step takes, compiled or not; they may be changed."""
    seconds = {False: 10.0, True: 1.0}
    state = {"now": 0.0}

    class Paced(TrialSteps):
        def __call__(self, way, number):
            super().__call__(way, number)
            state["now"] += seconds[way.is_compiled]

    monkeypatch.setattr(fastest, "TrialSteps", Paced)
    monkeypatch.setattr(fastest, "clock_for", lambda config, is_compiled: lambda: state["now"])
    monkeypatch.setattr("nnkit.runs.choosing.SHARE", 10.0)
    return seconds


@pytest.mark.parametrize(("compiled", "expected"), [(1.0, True), (9.9, False), (20.0, False)])
def test_auto_compiles_where_it_is_faster(without_code, paced, compiled, expected):
    paced[True] = compiled
    run = nnkit.train([*WORDS, AUTO]).run
    assert run.settings()["trainer.compile"] is expected
    assert (
        f"trainer.compile=auto: {str(expected).lower()}; a compiled step takes {compiled / 10:.2f}"
        in (run.path / "train.log").read_text()
    )
    by_hand = nnkit.train([*WORDS, f"trainer.compile={str(expected).lower()}"]).run
    assert (run.path / "metrics.jsonl").read_bytes() == (by_hand.path / "metrics.jsonl").read_bytes()


def test_precision_and_compiling_are_measured_one_after_the_other(without_code, paced):
    """Precisions take as long as each other here, so that the more exact one is compiled."""
    run = nnkit.train([*WORDS, AUTO, "trainer.precision=fastest"]).run
    assert run.settings()["trainer.compile"] is True
    assert run.settings()["trainer.precision"] == "32-true"
    assert [*run.record()["fastest"]["figures"]] == [
        *("32-true", "32-true, matmul_precision=medium", "bf16-mixed", "32-true, compiled")
    ]
    again = nnkit.train([*WORDS, AUTO, "trainer.precision=fastest", "seed=3"]).run
    assert again.record()["fastest"]["measured_before"]
    assert again.settings()["trainer.compile"] is True


def test_auto_compiles_nothing_for_batches_of_several_lengths(paced):
    words = ["data=langid", "model=transformer_encoder", "model.dim=16", "model.num_layers=1"]
    run = nnkit.train([*words, "trainer.max_steps=2", "logger=[]", "callbacks=[checkpoint]", AUTO]).run
    assert run.settings()["trainer.compile"] is False
    assert "false, as batches have several lengths" in (run.path / "train.log").read_text()
