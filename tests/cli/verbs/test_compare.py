"""`nnkit compare`: what differs in configs beside what differs in metrics."""

import csv
import io
import json
import math
import os
import statistics
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from PIL import Image

from nnkit.analysis import comparison
from nnkit.config import catalog
from nnkit.files.layout import CONFIG, METRICS
from nnkit.runs.run import Run
from nnkit.sweep.directory import Definition, Sweep
from nnkit.sweep.space import grid, read_space
from nnkit.sweep.trials import DONE, KILLED, PRUNED, Outcome

CONFIG_OF = {
    "model": {"_target_": "nnkit.models.mlp.MLP", "hidden": [300, 100], "dropout": 0.0},
    "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.001, "fused": None},
    "data": {"kind": "table", "num_classes": 3, "batch_size": 16, "seed": "${seed}"},
    "scheduler": {"max_lr": "${optimizer.lr}"},
    "logger": {"tensorboard": {"prefix": ""}},
    "monitor": "val/accuracy",
    "seed": 0,
    "output_dir": "outputs",
}


def merged(node, changes):
    found = {key: dict(value) if isinstance(value, dict) else value for key, value in node.items()}
    for key, value in changes.items():
        group, _, name = key.partition(".")
        if name:
            found[group][name] = value
        else:
            found[group] = value
    return found


@pytest.fixture
def make(tmp_path):
    def make_run(name, accuracy=None, words=(), config=None, folder="outputs", status="done", **choices):
        run = Run.create(tmp_path / folder, "m-d", name)
        content = merged(CONFIG_OF, {"name": name, **(config or {})})
        (run.path / CONFIG).write_text(yaml.safe_dump(content, sort_keys=False))
        metrics = {} if accuracy is None else {"val/accuracy": accuracy, "test/accuracy": accuracy - 0.01}
        overrides = [*words, f"name={name}"]
        run.update(
            status=status,
            start=f"2026-01-01T00:00:{len(list((tmp_path / folder).iterdir())):02}+00:00",
            choices={"model": "mlp", "data": "iris", "callbacks": ["checkpoint"], **choices},
            overrides=overrides,
            metrics={**metrics, **({"test/loss": 1 - accuracy} if metrics else {})},
            step=100,
        )
        return run

    return make_run


@pytest.fixture
def make_sweep(tmp_path, make):
    """A sweep over model, learning rate and seed, whose values depend on the trial alone."""

    def make_one(name="first", axes=("model=lenet5,mlp", "optimizer.lr=0.001,0.003", "seed=1,2,3")):
        sweep = Sweep(tmp_path / "outputs" / "sweeps" / name)
        sweep.path.mkdir(parents=True)
        sweep.define(Definition(("data=iris",), axes, False, "val/accuracy", "max", 1))
        for trial in grid(read_space(axes).axes):
            words = {"model": "mlp", **dict(word.split("=") for word in trial.words)}
            value = value_of(words)
            config = {"optimizer.lr": float(words["optimizer.lr"]), "seed": int(words["seed"])}
            config["model.hidden"] = None if words["model"] == "lenet5" else [300]
            make(trial.name, value, trial.words, config, f"outputs/sweeps/{name}", model=words["model"])
            sweep.note((trial, Outcome(DONE, "", {"val/accuracy": value}, 100)))
        return sweep

    return make_one


def value_of(words):
    return (
        {"lenet5": 0.97, "mlp": 0.90}[words["model"]]
        + (0.02 if words["optimizer.lr"] == "0.003" else 0)
        + int(words["seed"]) / 1e4
    )


def table(cli, *words):
    code, out, err = cli("compare", *words, "--format", "csv")
    assert (code, err) == (0, "")
    return list(csv.DictReader(io.StringIO(out)))


def test_what_was_typed_and_differs_beside_the_metrics(cli, make):
    make("one", 0.90, ["optimizer.lr=0.01", "data=iris"], {"optimizer.lr": 0.01})
    make("two", 0.95, ["data=iris"], {"data.num_classes": 5, "logger.tensorboard": {"prefix": "x"}})
    rows = table(cli, "one", "two")
    # The best first; facts, loggers, names and places do not tell runs apart.
    assert [row["run"] for row in rows] == ["two", "one"]
    assert list(rows[0]) == ["run", "optimizer.lr", "val/accuracy", "test/accuracy", "test/loss"]
    assert [row["optimizer.lr"] for row in rows] == ["0.001", "0.01"]
    assert [float(row["test/accuracy"]) for row in rows] == pytest.approx([0.94, 0.89])


def test_without_a_word_about_it_all_that_differs_is_shown(cli, make):
    make("one", 0.90, config={"model.dropout": 0.5, "data.batch_size": 8})
    make("two", 0.95)
    code, out, _ = cli("compare")
    assert code == 0
    assert "dropout" in out
    assert "batch_size" in out
    assert "different as well" not in out


def test_what_follows_from_an_option_is_named_below(cli, make):
    lenet = {"model.hidden": None, "model._target_": "nnkit.models.lenet5.LeNet5", "optimizer.lr": 0.5}
    make("one", 0.90, ["model=lenet5"], lenet, model="lenet5")
    make("two", 0.95, ["model=mlp"])
    out = cli("compare")[1]
    assert "different as well: optimizer.lr, model.hidden; --columns all shows them" in out
    out = cli("compare", "--columns", "all")[1]
    assert "different as well" not in out
    assert "[300, 100]" in out


def test_a_default_that_was_changed_in_between_is_shown(cli, make):
    make("one", 0.90, ["model=mlp", "optimizer.lr=0.1"], {"optimizer.lr": 0.1})
    make("two", 0.91, ["model=mlp"], {"data.batch_size": 32})
    make("three", 0.92, ["model=lenet5"], {"data.batch_size": 32}, model="lenet5")
    # Typed first; that one mlp has another batch than the other no option explains.
    assert list(table(cli)[0])[:4] == ["run", "model", "optimizer.lr", "data.batch_size"]


def test_two_sweeps_side_by_side(cli, make_sweep):
    make_sweep()
    make_sweep("second", ("optimizer.lr=0.001,0.1", "seed=1,2"))
    rows = table(cli, "first", "second")
    assert [row["from"] for row in rows].count("second") == 2
    assert len(rows) == 6
    assert list(table(cli, "second", "--filter", "seed=1")[0])[:2] == ["optimizer.lr", "val/accuracy"]


def test_seeds_become_mean_and_interval(cli, make_sweep):
    make_sweep()
    rows = table(cli, "first")
    assert [(row["model"], row["optimizer.lr"], row["seeds"]) for row in rows] == [
        ("lenet5", "0.003", "3"),
        ("lenet5", "0.001", "3"),
        ("mlp", "0.003", "3"),
        ("mlp", "0.001", "3"),
    ]
    values = [value_of({"model": "lenet5", "optimizer.lr": "0.003", "seed": seed}) for seed in (1, 2, 3)]
    assert float(rows[0]["val/accuracy"]) == statistics.fmean(values)
    assert float(rows[0]["val/accuracy deviation"]) == pytest.approx(statistics.stdev(values))
    # t of two degrees of freedom, from a printed table.
    half = 4.3027 * statistics.stdev(values) / math.sqrt(3)
    assert float(rows[0]["val/accuracy high"]) == pytest.approx(statistics.fmean(values) + half, abs=1e-7)
    out = cli("compare", "first")[1]
    assert "model=lenet5 optimizer.lr=0.003 is the best: its 95 % interval lies apart from all others" in out
    assert len(table(cli, "first", "--no-seeds")) == 12


def test_runs_are_merged_on_request(cli, make):
    for seed in (1, 2):
        make(f"try{seed}", 0.9 + seed / 100, [f"seed={seed}"], {"seed": seed})
    (row,) = table(cli, "try1", "try2", "--seeds")
    assert (row["run"], row["seeds"], float(row["val/accuracy"])) == ("try1 +1", "2", pytest.approx(0.915))
    assert [row["seed"] for row in table(cli, "try1", "try2")] == ["2", "1"]


def test_trials_that_failed_or_were_pruned_do_not_count(cli, make_sweep):
    sweep = make_sweep()
    trials = [entry.trial for entry in sweep.entries().values()]
    sweep.note((trials[0], Outcome(KILLED, "killed by SIGKILL")))
    (sweep.path / trials[0].name / CONFIG).unlink()
    sweep.note((trials[3], Outcome(PRUNED, "", {"val/accuracy": 0.1})))
    rows = {(row["model"], row["optimizer.lr"]): row for row in table(cli, "first")}
    # Without a config a trial is known by its words, and stands with its siblings.
    assert len(rows) == 4
    row = rows["lenet5", "0.001"]
    assert (row["seeds"], row["status"]) == ("2", "1 killed, 2 done")
    assert rows["lenet5", "0.003"]["status"] == "1 pruned, 2 done"
    assert [row["status"] for row in table(cli, "first", "--no-seeds", "--filter", "status=killed")] == [
        "killed"
    ]


@pytest.mark.parametrize(
    ("tests", "found"),
    [
        (["model=lenet5"], 6),
        (["model!=lenet5"], 6),
        (["optimizer.lr>1e-3"], 6),
        (["lr>=0.001"], 12),
        (["lr<1e-3"], 0),
        (["optimizer.lr=1e-3", "seed<=2"], 4),
        (["status=done"], 12),
        (["hidden=[300]"], 6),
        (["hidden=null"], 6),
        (["val/accuracy>0.98"], 3),
        (["max_lr=${optimizer.lr}"], 12),
    ],
)
def test_filters(cli, make_sweep, tests, found):
    make_sweep()
    options = [word for test in tests for word in ("--filter", test)]
    code, out, err = cli("compare", "first", "--no-seeds", "--format", "json", *options)
    assert code == 0
    assert len(json.loads(out)["rows"]) == found
    assert ("nothing to compare" in err) == (found == 0)


def test_a_filter_on_a_metric_tests_the_mean_of_merged_rows(cli, make_sweep):
    make_sweep()
    assert [row["seeds"] for row in table(cli, "first", "--filter", "val/accuracy>0.9202")] == ["3", "3"]
    # 0.9202 is the mean over the seeds, 0.9203 its best seed.
    assert len(table(cli, "first", "--filter", "val/accuracy>0.92015")) == 3


def test_order(cli, make_sweep):
    make_sweep()

    def order(*words):
        return [(row["model"], row["optimizer.lr"]) for row in table(cli, "first", *words)]

    best = [("lenet5", "0.003"), ("lenet5", "0.001"), ("mlp", "0.003"), ("mlp", "0.001")]
    assert order() == order("--sort", "val/accuracy") == order("--sort", "test/loss") == best
    assert order("--sort", "val/accuracy", "--reverse") == best[::-1]
    assert order("--sort", "lr") == [best[1], best[3], best[0], best[2]]
    assert [name for name, _ in order("--sort", "model")] == ["lenet5", "lenet5", "mlp", "mlp"]


def test_columns_are_those_asked_for(cli, make_sweep):
    make_sweep()
    rows = table(cli, "first", "--no-seeds", "--columns", "run,lr,test/accuracy,status,steps")
    assert list(rows[0]) == ["run", "optimizer.lr", "test/accuracy", "status", "steps"]
    assert (rows[0]["status"], rows[0]["steps"]) == ("done", "100")
    assert list(table(cli, "first", "--columns", "seeds,val/accuracy")[0])[:2] == ["seeds", "val/accuracy"]


def test_json_and_markdown(cli, make_sweep):
    make_sweep()
    found = json.loads(cli("compare", "first", "--format", "json")[1])
    assert found["winner"] == "model=lenet5 optimizer.lr=0.003"
    assert found["rows"][0]["val/accuracy"]["count"] == 3
    assert len(found["rows"][0]["paths"]) == 3
    assert all(Path(path, CONFIG).is_file() for path in found["rows"][0]["paths"])
    single = json.loads(cli("compare", "first", "--format", "json", "--no-seeds")[1])
    assert single["rows"][0]["val/accuracy"] == value_of(
        {"model": "lenet5", "optimizer.lr": "0.003", "seed": 3}
    )
    lines = cli("compare", "first", "--format", "markdown")[1].splitlines()
    assert lines[0].startswith("| model | optimizer.lr | seeds | val/accuracy | 95 % interval |")
    assert lines[2].startswith("| lenet5 | 0.003 | 3 | 0.9902 ± 0.0001 |")
    assert "is the best" in lines[-1]


def test_the_ending_of_a_file_says_its_format(cli, make_sweep):
    make_sweep()
    for name in ("a.csv", "a.json", "a.md"):
        code, out, err = cli("compare", "first", "--output", name)
        assert (code, out, err) == (0, "", f"written: {name}\n")
    assert Path("a.csv").read_text().startswith("model,optimizer.lr,seeds,val/accuracy,")
    assert json.loads(Path("a.json").read_text())["winner"]
    assert Path("a.md").read_text().startswith("| model ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["firts"], "did you mean first?"),
        (["model=lenet4,optimizer.lr=0.001,seed=1"], "did you mean model=lenet5,optimizer.lr=0.001,seed=1?"),
        (["first", "--sort", "acuracy"], "--sort: no run has 'acuracy', did you mean val/accuracy?"),
        (["first", "--sort", "accuracy"], "'accuracy' may be val/accuracy or test/accuracy"),
        (["first", "--filter", "modle=mlp"], "--filter: no run has 'modle', did you mean model?"),
        (["first", "--filter", "model"], "--filter 'model' is no comparison"),
        (["first", "--filter", "lr>many"], "'many' is no number"),
        (["first", "--filter", "__import__('os').system('touch x')>1"], "no comparison"),
        (["first", "--columns", "optimiser.lr"], "did you mean optimizer.lr?"),
        (["first", "--curves", "x.jpg"], "must end in .png, .svg"),
        (["first", "--output", "x.xlsx"], "must end in .csv, .json, .md"),
        (["first", "--output", "x.csv", "--format", "table"], "a table is for the terminal"),
        (["first", "--output", "no/x.csv"], "there is no directory no"),
        (["--history", "x.png"], "--history shows the trials of one sweep"),
        (["first", "--output", "x.csv", "--curves", "x.png"], "none of these runs has logged"),
    ],
)
def test_mistakes_are_sentences_and_write_nothing(cli, make_sweep, tmp_path, words, said):
    make_sweep()
    before = sorted(tmp_path.rglob("*"))
    code, out, err = cli("compare", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert sorted(tmp_path.rglob("*")) == before


def log(run, values, seed=0):
    rows = [
        row
        for step, value in enumerate(values, 1)
        for row in (
            {"step": 10 * step, "split": "train", "train/loss": value + seed / 100},
            {"step": 10 * step, "split": "val", "val/loss": value, "val/accuracy": 1 - value},
        )
    ]
    (run.path / METRICS).write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 30, "spl')


def test_learning_curves(cli, make):
    for seed in (1, 2):
        for rate in (0.1, 0.01):
            run = make(f"a{seed}-{rate}", 0.9, [f"optimizer.lr={rate}"], {"optimizer.lr": rate, "seed": seed})
            log(run, [0.9, 0.5 + rate, 0.3 + seed / 10], seed)
    code, _, err = cli("compare", "--curves", "runs.png", "--seeds")
    assert (code, err) == (0, "written: runs.png\n")
    with Image.open("runs.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 2 * picture.height
    cli("compare", "--curves", "again.png", "--seeds")
    assert Path("again.png").read_bytes() == Path("runs.png").read_bytes()


def texts(path):
    """Return what is written in an SVG picture; matplotlib draws letters as paths and names them in comments."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    tree = ElementTree.parse(path, parser=parser)
    return [node.text.strip() for node in tree.iter() if node.tag is ElementTree.Comment]


def test_names_in_a_chart_are_no_formulas(cli, make):
    log(make("one", 0.9, ["tag=$x^{2$"], {"tag": "$x^{2$ \u4e16"}), [0.5, 0.4])
    log(make("two", 0.8, ["tag=b"], {"tag": "b"}), [0.5, 0.4])
    assert cli("compare", "--curves", "runs.svg")[0] == 0
    found = set(texts("runs.svg"))
    assert {"loss", "accuracy", "step", "tag=b"} <= found
    # As it is, or its code point where no font of the machine has the character.
    assert found & {"tag=$x^{2$ \u4e16", "0 tag=$x^{2$ \\u4e16", "1 tag=$x^{2$ \\u4e16"}


def test_search_history(cli, make_sweep):
    sweep = make_sweep()
    trials = [entry.trial for entry in sweep.entries().values()]
    sweep.note((trials[3], Outcome(PRUNED, "", {"val/accuracy": 0.1})))
    code, _, err = cli("compare", "first", "--history", "history.svg", "--format", "json")
    assert (code, err) == (0, "written: history.svg\n")
    assert {"trial", "val/accuracy", "best so far", "pruned"} <= set(texts("history.svg"))


@pytest.mark.parametrize("name", [CONFIG, "run.json", METRICS])
@pytest.mark.parametrize("content", [b"", b"[", b"\xff\x00", b"3", b'{"a": ' + b"[" * 3000, b"x: &a [*a]"])
def test_garbled_runs_are_compared_all_the_same(cli, make, name, content):
    make("good", 0.9)
    run = make("bad", 0.8, config={"optimizer.lr": 0.5})
    log(run, [0.5])
    (run.path / name).write_bytes(content)
    if name == METRICS:
        code, _, err = cli("compare", "good", "bad", "--curves", "c.svg")
        assert code in (0, 2)
        assert "Traceback" not in err
    code, out, err = cli("compare", "good", "bad")
    assert (code, err) == (0, "")
    assert "good" in out
    assert "bad" in out


def test_nothing_of_a_config_is_resolved_or_run(cli, make, monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    make("one", 0.9, config={"model.dropout": "${oc.env:SECRET}", "data.batch_size": "\x1b[31mred"})
    make("two", 0.8)
    for form in ("table", "csv", "json", "markdown"):
        code, out, _ = cli("compare", "--format", form, "--columns", "all")
        assert code == 0
        assert "hunter2" not in out
        assert "oc.env:SECRET" in out
        assert "\x1b" not in out


@pytest.mark.parametrize("name", [CONFIG, "run.json", METRICS, "trials.jsonl", "sweep.json"])
def test_no_pipe_is_waited_for(cli, make_sweep, name):
    sweep = make_sweep()
    run = next(iter(sweep.entries()))
    (sweep.path / run / "run.json").write_text("{}")
    path = sweep.path / name if name.startswith(("trials", "sweep")) else sweep.path / run / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    for words in (["first"], [f"outputs/sweeps/first/{run}"], ["first", "--curves", "c.png"]):
        code, _, err = cli("compare", *words)
        assert code in (0, 2)
        assert "Traceback" not in err


def test_no_runs(cli):
    code, out, err = cli("compare")
    assert (code, out) == (0, "")
    assert "nothing to compare" in err


@pytest.mark.parametrize(("better", "first"), [("max", "high"), ("min", "low")])
def test_a_metric_of_the_users_own_is_better_the_way_that_the_run_says(cli, make, better, first):
    """As a task of the user's writes it into the record: nnkit cannot know the metric's name."""
    for name, value in (("low", 0.2), ("high", 0.9)):
        make(name).update(better={"sharpness": better}, metrics={"test/sharpness": value})
    rows = table(cli, "low", "high", "--sort", "test/sharpness")
    assert rows[0]["run"] == first


def test_directions_are_those_of_the_tasks():
    from nnkit.tasks.base import Task

    for name in catalog.options("task"):
        target = catalog.read("task", name)["_target_"]
        module, _, task = target.rpartition(".")
        found = getattr(__import__(module, fromlist=[task]), task)
        assert issubclass(found, Task)
        for metric, mode in found.metrics.items():
            assert comparison.Row("", (), (), {}).direction(f"val/{metric}") == mode


def test_facts_are_those_of_the_data():
    found = set()
    for name in catalog.options("data"):
        module, _, data = catalog.read("data", name)["_target_"].rpartition(".")
        found |= set(getattr(__import__(module, fromlist=[data]), data).fact_names)
    # The length of a series is an option of most, and compared.
    assert found - {"window"} == comparison.FACTS


def test_references_are_shown_as_what_they_come_to(cli, make):
    follows = {"monitor": "${task.monitor}", "task": {"monitor": "val/accuracy"}, "optimizer.lr": "${seed}"}
    make("one", 0.90, ["monitor=val/loss"], {**follows, "monitor": "val/loss", "seed": 3})
    make("two", 0.95, config={**follows, "seed": 4, "data.batch_size": "${oc.env:HOME}"})
    make("three", 0.93, config={**follows, "monitor": "val/accuracy", "seed": 4})
    rows = {
        row["run"]: row
        for row in table(cli, "one", "two", "three", "--columns", "run,monitor,optimizer.lr,batch_size")
    }
    assert [rows[name]["monitor"] for name in ("one", "two", "three")] == [
        "val/loss",
        "val/accuracy",
        "val/accuracy",
    ]
    assert rows["two"]["optimizer.lr"] == "4"
    # What leads out of the config is not looked up.
    assert rows["two"]["data.batch_size"] == "${oc.env:HOME}"
    assert "${task.monitor}" not in cli("compare")[1]
    # A reference and its value are no difference.
    make("four", 0.91, config={**follows, "seed": 4})
    assert "monitor" not in table(cli, "three", "four")[0]
    assert [row["run"] for row in table(cli, "--filter", "monitor=val/accuracy", "--columns", "run")] == [
        "two", "three", "four",
    ]  # fmt: skip
