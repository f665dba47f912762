"""`trainer.precision=fastest`: a run whose precision was measured is the one with that precision given by hand."""

import itertools
import json
import random
import shutil
import time
from pathlib import Path

import numpy
import pytest
import torch
from exactness import assert_same_end, cut

import nnkit
from nnkit import config as configs
from nnkit.checkpoint.store import CheckpointStore
from nnkit.config.places import COMMAND_LINE
from nnkit.errors import ConfigError, UserError
from nnkit.machine import signals
from nnkit.runs import fastest, preflight
from nnkit.runs.choosing import UnusableError, Way
from nnkit.runs.fastest import clock_for
from nnkit.runs.resuming import resume
from nnkit.runs.run import Run
from nnkit.runs.trial_steps import TrialSteps, generators_kept
from nnkit.tasks.base import Task

# Dropout, augmentation and shuffling, so that nothing of a generator could be used up unseen.
WORDS = [
    "data=digits",
    "model=mlp",
    "model.hidden=[16]",
    "model.dropout=0.2",
    "+data.augment.shift=1",
    "data.subset=0.25",
    "data.batch_size=32",
    "trainer.max_steps=24",
    "trainer.log_every_n_steps=1",
    "trainer.num_threads=1",
    "trainer.gradient_clip_val=1.0",
    "logger=[]",
    "callbacks=[checkpoint,nan_guard]",
    "callbacks.checkpoint.every_n_steps=4",
    "callbacks.checkpoint.keep_last=99",
]
FAST = "trainer.precision=fastest"


class Stopwatch:
    """Real steps of the run, timed by what each way is said to cost.

    Args:
        costs: Seconds of a step, by precision and precision of products; an exception is raised instead.
    """

    def __init__(self, **costs):
        self.now, self.taken = 0.0, 0
        self.costs = {"base": 1.0, "medium": 0.9, "bf16": 0.5, **costs}

    def __enter__(self):
        watch = self

        class Paced(TrialSteps):
            def __call__(self, way, number):
                super().__call__(way, number)
                name = (
                    "medium"
                    if way.matmul_precision == "medium"
                    else {"bf16-mixed": "bf16"}.get(way.precision, "base")
                )
                watch.taken += 1
                if isinstance(watch.costs[name], BaseException):
                    raise watch.costs[name]
                watch.now += watch.costs[name]

        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(fastest, "TrialSteps", Paced)
        self._patch.setattr(fastest, "clock_for", lambda config, is_compiled: lambda: self.now)
        # 24 steps are worth measuring.
        self._patch.setattr("nnkit.runs.choosing.SHARE", 10.0)
        return self

    def __exit__(self, *error):
        self._patch.undo()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """What other tests have prepared is used, and what is measured is kept apart."""
    monkeypatch.setattr("nnkit.runs.measured.cache.cache_dir", lambda: tmp_path / "cache")


def train(*words, **costs):
    with Stopwatch(**costs) as watch:
        run = nnkit.train([*WORDS, *words]).run
    return run, watch.taken


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """Return the run with bf16-mixed on the command line, made once."""
    folder = tmp_path_factory.mktemp("by_hand")
    return nnkit.train([*WORDS, "trainer.precision=bf16-mixed", "name=by_hand", f"output_dir={folder}"]).run


def test_the_run_is_the_one_with_the_precision_given_by_hand(by_hand):
    run, taken = train(FAST, "name=measured")
    assert taken > 10
    assert (run.path / "metrics.jsonl").read_bytes() == (by_hand.path / "metrics.jsonl").read_bytes()
    states = [CheckpointStore(one.checkpoints).load("last")[1] for one in (by_hand, run)]
    for name, tensor in states[0]["state_dict"].items():
        assert torch.equal(tensor, states[1]["state_dict"][name]), name


def test_what_was_chosen_stands_in_config_and_record():
    run, _ = train(FAST)
    assert run.settings()["trainer.precision"] == "bf16-mixed"
    assert run.settings()["trainer.matmul_precision"] == "highest"
    record = run.record()
    assert record["precision"] == "bf16-mixed"
    assert not record["fastest"]["measured_before"]
    ratios = {name: one["ratio"] for name, one in record["fastest"]["figures"].items()}
    assert ratios == {
        "32-true": 1.0,
        "32-true, matmul_precision=medium": pytest.approx(0.9),
        "bf16-mixed": pytest.approx(0.5),
    }
    assert (
        "bf16-mixed: 0.50 of 32-true; 32-true, matmul_precision=medium: 0.90 of 32-true"
        in (run.path / "train.log").read_text()
    )
    # Those who open the run read what was chosen.
    assert nnkit.load(run).task is not None
    assert str(configs.load(run.path / "config.yaml").trainer.precision) == "bf16-mixed"


def test_products_of_reduced_precision_may_be_the_fastest():
    run, _ = train(FAST, bf16=2.0, medium=0.4)
    assert run.settings()["trainer.precision"] == "32-true"
    assert run.settings()["trainer.matmul_precision"] == "medium"


def test_a_precision_of_products_that_was_typed_is_kept():
    run, _ = train(FAST, "trainer.matmul_precision=highest", bf16=2.0, medium=0.4)
    assert run.settings()["trainer.matmul_precision"] == "highest"
    assert [*run.record()["fastest"]["figures"]] == ["32-true", "bf16-mixed"]


def test_where_nothing_is_faster_32_true_stays(by_hand):
    run, _ = train(FAST, bf16=0.97, medium=1.0)
    assert run.settings()["trainer.precision"] == "32-true"
    assert (run.path / "metrics.jsonl").read_bytes() != (by_hand.path / "metrics.jsonl").read_bytes()


def test_every_resume_point_leads_to_the_same_end(tmp_path):
    run, _ = train(FAST, "name=whole")
    manifests = CheckpointStore(run.checkpoints).manifests()
    assert len(manifests) >= 6
    for manifest in manifests[1:]:
        with Stopwatch(bf16=9.0) as watch:
            again = resume(str(cut(run, manifest, tmp_path / f"cut-{manifest.step}").path), show=False).run
        assert watch.taken == 0
        assert_same_end(run, again, f"from step {manifest.step}")


def test_the_next_run_does_not_measure_again_until_the_file_is_deleted(tmp_path, capsys):
    train(FAST)
    run, taken = train(FAST, "seed=2", "optimizer.lr=0.002", "trainer.max_steps=30", bf16=9.0)
    assert taken == 0
    assert run.settings()["trainer.precision"] == "bf16-mixed"
    assert run.record()["fastest"]["measured_before"]
    log = (run.path / "train.log").read_text()
    (path,) = (tmp_path / "cache" / "fastest").glob("*/measured.json")
    assert f"measured before on this machine; to measure again, delete {path}" in log
    path.unlink()
    run, taken = train(FAST, bf16=9.0)
    assert taken > 0
    assert run.settings()["trainer.precision"] == "32-true"


@pytest.mark.parametrize(
    "word", ["model.hidden=[17]", "data.batch_size=33", "optimizer=sgd", "trainer.num_threads=2"]
)
def test_another_network_or_machine_is_measured_anew(word):
    train(FAST)
    run, taken = train(FAST, word, bf16=9.0)
    torch.set_num_threads(1)
    assert taken > 0
    assert run.settings()["trainer.precision"] == "32-true"


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"key": 1}', '{"key": 1, "figures": [{"way": {"x": 1}}]}']
)
def test_a_damaged_file_is_measured_over(tmp_path, content):
    train(FAST)
    (path,) = (tmp_path / "cache" / "fastest").glob("*/measured.json")
    whole = path.read_text()
    path.write_text(content)
    assert train(FAST)[1] > 0
    assert json.loads(path.read_text())["key"] == json.loads(whole)["key"]


def test_a_cache_that_cannot_be_written_is_no_hindrance(tmp_path):
    (tmp_path / "cache").write_text("a file")
    run, taken = train(FAST)
    assert taken > 0
    assert run.settings()["trainer.precision"] == "bf16-mixed"
    assert "not kept, as the cache cannot be written" in (run.path / "train.log").read_text()


def test_a_loss_that_is_not_finite_disqualifies(monkeypatch):
    """The real steps find it: autocast makes the loss infinite."""
    score = nnkit.tasks.classification.Classification.score

    def spoilt(self, batch):
        loss, totals = score(self, batch)
        return (loss * torch.inf if torch.is_autocast_enabled("cpu") else loss), totals

    monkeypatch.setattr(nnkit.tasks.classification.Classification, "score", spoilt)
    run, _ = train(FAST)
    assert run.settings()["trainer.precision"] == "32-true"
    assert run.settings()["trainer.matmul_precision"] == "medium"
    assert run.record()["fastest"]["figures"]["bf16-mixed"]["unusable"] == "its loss is inf"
    assert "bf16-mixed: its loss is inf" in (run.path / "train.log").read_text()


def test_steps_that_cannot_be_measured_leave_32_true():
    run, _ = train(FAST, base=UnusableError("no kernel"))
    assert run.settings()["trainer.precision"] == "32-true"
    assert "32-true, as its steps cannot be measured: no kernel" in (run.path / "train.log").read_text()


def test_a_run_too_short_to_measure_is_32_true():
    run = nnkit.train([*WORDS, FAST]).run
    assert run.settings()["trainer.precision"] == "32-true"
    assert "too short to measure anything" in (run.path / "train.log").read_text()
    assert run.record()["fastest"]["figures"] == {}


@pytest.mark.slow
def test_trials_of_a_sweep_share_what_was_measured(tmp_path, monkeypatch, cli):
    monkeypatch.setenv("NNKIT_CACHE", str(tmp_path / "cache"))
    train(FAST)
    code, _, err = cli("train", "-m", *WORDS, FAST, "seed=2,3", "name=swept")
    assert code == 0, err
    records = [Run(path.parent).record() for path in Path("outputs").glob("**/config.yaml")]
    swept = [record for record in records if record["seed"] in (2, 3)]
    assert [(one["precision"], one["fastest"]["measured_before"]) for one in swept] == [
        ("bf16-mixed", True)
    ] * 2


@pytest.fixture
def session():
    composition = preflight.sound(nnkit.compose([*WORDS, FAST]))
    return preflight.preflight(composition).session


def test_measuring_leaves_generators_weights_and_data_as_they_are(session):
    before = {name: tensor.clone() for name, tensor in session.task.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), numpy.random.get_state()[1].copy()
    order = [draw.indices.tolist() for draw in session.data.train_dataloader().sampler]
    steps = TrialSteps(session)
    with generators_kept():
        for number, precision in itertools.product(range(3), ("32-true", "bf16-mixed")):
            steps.gather(number)
            steps(Way(precision, "medium"), number)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (numpy.random.get_state()[1] == states[2]).all()
    assert [draw.indices.tolist() for draw in session.data.train_dataloader().sampler] == order
    assert torch.get_float32_matmul_precision() == "highest"
    after = session.task.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert all(parameter.grad is None for parameter in session.task.parameters())


def test_the_steps_that_are_timed_are_those_of_the_run(session, monkeypatch):
    """Loss and gradients of the first batch, as the run has them."""
    seen = []
    clip = Task.configure_gradient_clipping

    def noted(self, optimizer, *values, **named):
        seen.append([one.grad.clone() for group in optimizer.param_groups for one in group["params"]])
        clip(self, optimizer, *values, **named)

    monkeypatch.setattr(Task, "configure_gradient_clipping", noted)
    with generators_kept():
        steps = TrialSteps(session)
        steps.gather(0)
        steps(Way("bf16-mixed", "highest"), 0)

    nnkit.train([*WORDS, "trainer.precision=bf16-mixed", "trainer.max_steps=1"])
    assert len(seen) == 2
    assert len(seen[0]) == len(seen[1]) == 4
    for one, other in zip(*seen, strict=True):
        assert torch.equal(one, other)


def test_a_run_killed_while_it_measures_is_measured_where_it_is_resumed(by_hand):
    class Killed(BaseException):
        pass

    with pytest.raises(Killed):
        train(FAST, "name=killed", medium=Killed())
    run = Run(Path("outputs/killed"))
    assert run.status() == "killed"
    assert run.settings()["trainer.precision"] == "fastest"
    with Stopwatch() as watch:
        resume("killed", show=False)
    assert watch.taken > 0
    assert run.record()["status"] == "done"
    assert run.settings()["trainer.precision"] == run.record()["precision"] == "bf16-mixed"
    assert (run.path / "metrics.jsonl").read_bytes() == (by_hand.path / "metrics.jsonl").read_bytes()


def test_a_signal_while_it_measures_leaves_a_run_to_resume(by_hand, monkeypatch):
    from nnkit.callbacks.signals import Interrupted

    gather, stop = TrialSteps.gather, signals.stop

    def interrupted(self, number):
        if number == 3:
            monkeypatch.setattr(signals, "stop", lambda: 15)
        return gather(self, number)

    monkeypatch.setattr(TrialSteps, "gather", interrupted)
    with pytest.raises(Interrupted, match="before the first step; continue with: nnkit resume") as error:
        train(FAST, "name=stopped")
    assert error.value.exit_code == 143
    monkeypatch.setattr(signals, "stop", stop)
    monkeypatch.setattr(TrialSteps, "gather", gather)
    run = Run(Path("outputs/stopped"))
    assert run.record()["status"] == "stopped"
    with Stopwatch():
        resume("stopped", show=False)
    assert (run.path / "metrics.jsonl").read_bytes() == (by_hand.path / "metrics.jsonl").read_bytes()


def test_auto_resume_goes_on_with_the_same_command(tmp_path):
    words = [FAST, "name=again", "auto_resume=true"]
    run, _ = train(*words)
    whole = Run(shutil.copytree(run.path, tmp_path / "whole"))
    store = CheckpointStore(run.checkpoints)
    store.remove(store.manifests()[0])
    run.update(status="stopped")
    again, taken = train(*words, bf16=9.0)
    assert taken == 0
    assert_same_end(whole, again)
    with pytest.raises(
        UserError, match=r"trainer.precision: 'bf16-mixed' in the run, '32-true' in the command"
    ):
        train("trainer.precision=32-true", "name=again", "auto_resume=true")


def test_a_run_that_has_begun_is_not_measured():
    run, _ = train(FAST, "name=begun")
    store = CheckpointStore(run.checkpoints)
    store.remove(store.manifests()[0])
    run.update(status="stopped")
    with pytest.raises(ConfigError, match="is measured where a run begins, and this one has begun"):
        resume("begun", words=[FAST], allowed=["trainer.precision"], show=False)


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["trainer.precision=fastst"], ["trainer.precision", "did you mean", "fastest"]),
        (["trainer.precision=Fastest"], ["trainer.precision", "fastest"]),
        (["trainer.compile=aut"], ["trainer.compile", "must be true, false or auto", "trainer.compile=auto"]),
        (["trainer.compile=fastest"], ["must be true, false or auto, not 'fastest'"]),
        (["trainer.strategy=fsdp", FAST], ["fsdp splits", "trainer.strategy=ddp"]),
        (["trainer.strategy=fsdp", "trainer.compile=auto"], ["trainer.compile=false"]),
    ],
)
def test_typos_and_contradictions_are_refused(words, texts):
    with pytest.raises(ConfigError) as error:
        nnkit.train([*WORDS, *words])
    assert all(text in str(error.value) for text in texts), str(error.value)
    assert not Path("outputs").exists()


def test_commands_that_explain_know_the_values():
    from nnkit.config.explanation import of_composition
    from nnkit.config.schema import schema

    explained = of_composition(nnkit.compose([FAST])).explain("trainer.precision")
    assert explained.value == "fastest"
    assert explained.takes.startswith("auto, fastest, or")
    assert any("fastest" in text for text in explained.means)
    assert explained.settings[-1].place == COMMAND_LINE
    text = json.dumps(schema())
    assert '["auto", "fastest"]' in text


@pytest.mark.parametrize(
    ("tick", "expected"), [(1e-6, "process_time"), (1e-4, "process_time"), (4e-3, "perf_counter")]
)
def test_a_clock_of_ticks_is_not_taken(monkeypatch, tick, expected):
    reads = itertools.count()
    monkeypatch.setattr(time, "process_time", lambda: next(reads) // 10 * tick)
    config = nnkit.compose([*WORDS, "trainer.accelerator=cpu"]).config
    assert clock_for(config, is_compiled=False) is getattr(time, expected)
    assert clock_for(config, is_compiled=True) is time.perf_counter
