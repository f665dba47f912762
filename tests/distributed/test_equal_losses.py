"""One, two and three processes take the same batches and reach the same losses; a run goes on with any number."""

import json
import re
from pathlib import Path

import pytest
import samples
import together

# Every sampler, every way in which a loss is a mean, and every kind of batch.
CASES = {
    "table": ["model=mlp", "model.dropout=0", *samples.small("mlp"), "data.batch_size=31"],
    "weights": ["model=mlp", "model.dropout=0", "loss.class_weights=balanced", "data.batch_size=16"],
    "sum": ["model=mlp", "model.dropout=0", "loss=mse", "loss.reduction=sum", "optimizer.lr=1e-4"],
    "windows": ["model=mlp", "model.dropout=0", "trainer.accumulate_grad_batches=3", "data.batch_size=7"],
    "pictures": ["model=lenet5", "metrics=[auroc]"],
    "text": ["model=gpt", "model.dropout=0", *samples.small("gpt")],
    "texts": ["model=lstm", "model.dropout=0", *samples.small("lstm")],
    "pairs": [
        "model=transformer",
        "model.dropout=0",
        *samples.small("transformer"),
        "data.max_length=16",
        "data.max_tokens=60",
    ],
    "sentences": ["model=bert_tiny", "model.dropout=0", *samples.small("bert_tiny")],
    "series": ["model=gru", "model.dropout=0", *samples.small("gru")],
}
# Two processes show how a loss is summed; a third, whether each sampler deals out to more: batches, and lengths.
THREE = ("table", "texts")
KINDS = {"weights": "table", "sum": "table", "windows": "table"}
QUICK = ["trainer.accelerator=cpu", "trainer.num_threads=1", "logger=[]", "trainer.log_every_n_steps=1"]


def command(name, run, size, steps=6):
    kind = KINDS.get(name, name)
    line = [*samples.words(kind), *CASES[name], *QUICK, f"trainer.max_steps={steps}", f"name={run}"]
    return ["train", *line, f"trainer.devices={size}", "scheduler=constant"]


def history(run):
    return [json.loads(line) for line in Path("outputs", run, "metrics.jsonl").read_text().splitlines()]


def assert_close(found, expected, within=2e-6):
    assert len(found) == len(expected)
    for row, other in zip(found, expected, strict=True):
        assert row.pop("split") == other["split"]
        assert row == pytest.approx({name: other[name] for name in row}, rel=within, abs=within, nan_ok=True)


@pytest.mark.parametrize("name", CASES)
def test_losses_of_several_processes_are_those_of_one(name, cli):
    code, _, err = cli(*command(name, "one", 1))
    assert code == 0, err
    sizes = (2, 3) if name in THREE else (2,)
    for size in sizes:
        ended = together.run(size, command(name, f"run{size}", size))
        assert [one.code for one in ended] == [0] * size, ended[0].said
        # One table, and the others are silent.
        assert len(re.findall("test/loss", ended[0].said)) == 1
        assert [one.said for one in ended[1:]] == [""] * (size - 1)
        assert_close(history(f"run{size}"), history("one"))
    assert {path.name for path in Path("outputs").iterdir()} == {"one", *(f"run{size}" for size in sizes)}


@pytest.mark.parametrize("name", ["texts", "windows"])
def test_a_run_goes_on_with_any_number_of_processes(name, cli):
    """Stopped inside an accumulation window and between the lines of the log as well."""
    code, _, err = cli(*command(name, "whole", 1))
    assert code == 0, err
    for before, after in ((2, 1), (2, 3), (1, 2)):
        run = f"run{before}{after}"
        words = [*command(name, run, before, steps=3), "trainer.val_check_interval=2"]
        ended = together.run(before, words)
        assert [one.code for one in ended] == [0] * before, ended[0].said
        ended = together.run(after, ["resume", run, "trainer.max_steps=6", f"trainer.devices={after}"])
        assert [one.code for one in ended] == [0] * after, ended[0].said
        assert f"exact: no, {before} -> {after} processes" in ended[0].said
        trained = [row for row in history(run) if row["split"] == "train"]
        assert_close(trained, [row for row in history("whole") if row["split"] == "train"])
