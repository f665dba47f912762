"""docs/extending.md is executed: its files, in a folder of their own, train with what ships."""

import json
import re
import warnings
from pathlib import Path

import pytest
from warm import Warm, command

DOCUMENT = Path(__file__).parent.parent / "docs" / "extending.md"


@pytest.fixture
def project(tmp_path):
    blocks = re.findall(
        r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL
    )
    for name, text in blocks:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert len(blocks) == 14
    return tmp_path


def nnkit(project, *words, trust="mine"):
    """Run a command line in the project; return its exit code, what it prints and what it says."""
    process = Warm(command, *words, cwd=project, env={"NNKIT_TRUST": trust}, err=project / "said.txt")
    code, said = process.wait()
    return code, process.printed(), said


def test_the_documents_command_trains_tests_and_calls_the_callback(project):
    words = re.search(r"^nnkit (train .*)$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)[1].split()
    code, _, err = nnkit(project, *words, "name=mine", "trainer.max_epochs=30", "optimizer.lr=0.01")
    assert code == 0, err
    run = project / "outputs" / "mine"
    record = json.loads((run / "run.json").read_text())
    assert record["metrics"]["test/accuracy"] > 0.7
    assert (run / "stopwatch.txt").read_text().endswith(" s\n")
    code, out, err = nnkit(project, "test", "mine")
    assert code == 0, err
    assert f"{record['metrics']['test/accuracy']:.4f}" in out


def test_without_trust_nothing_of_the_users_is_imported(project):
    (project / "mine" / "mixer.py").write_text("open('canary', 'w')")
    code, _, err = nnkit(project, "train", "model=mixer", "data=spirals", trust="")
    assert code == 2
    assert "NNKIT_TRUST" in err
    assert not (project / "canary").exists()
    assert not (project / "outputs").exists()


def test_mistakes_in_the_users_own_yaml_are_sentences(project):
    words = ["train", "model=mixer", "data=spirals", "model.num_layers=0", "loss=margin", "loss.widht=2"]
    code, _, err = nnkit(project, *words)
    assert code == 2
    assert "num_layers must be at least 1" in err
    assert "loss.width" in err
    assert "Traceback" not in err


def test_a_task_of_the_users_own_with_its_batch_and_metric_does_what_ours_do(project):
    command = ["data=weighted_spirals", "optimizer.lr=0.01", "callbacks=[checkpoint,pictures]"]
    for name, epochs in (("short", 2), ("long", 30)):
        code, _, err = nnkit(project, "train", *command, f"name={name}", f"trainer.max_epochs={epochs}")
        assert code == 0, err
    code, out, err = nnkit(project, "check", *command)
    assert code == 0, err
    assert "64 x 2" in out
    record = json.loads((project / "outputs/long/run.json").read_text())
    assert record["better"]["weighted_accuracy"] == "max"
    assert record["metrics"]["test/weighted_accuracy"] > 0.7
    code, out, err = nnkit(project, "test", "long")
    assert code == 0, err
    assert f"{record['metrics']['test/weighted_accuracy']:.4f}" in out
    code, out, err = nnkit(project, "predict", "long", "0.3,0.5", "x", "--format", "csv")
    assert "is no pair of numbers" in err
    assert re.search(r"0\.3,0\.5.*(left|right)", out), out
    code, out, err = nnkit(project, "compare", "short", "long", "--format", "csv")
    assert code == 0, err
    # The monitored metric is the user's, and more of it is better.
    assert "val/weighted_accuracy" in out.splitlines()[0]
    assert out.splitlines()[1].startswith("long"), out
    assert {"val/confusion"} <= pictures(project / "outputs/long")


def pictures(run):
    """Return the names of the pictures in TensorBoard's file."""
    with warnings.catch_warnings():
        # TensorBoard's own imports warn of what they use.
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(run / "tensorboard"))
        events.Reload()
    return set(events.Tags()["images"])


def test_a_sequence_body_of_the_users_own_learns_and_writes(project):
    (project / "text.txt").write_text("abcd" * 2000)
    words = ["model=running_mean", "data=text_file", "data.path=text.txt", "data.block_size=16"]
    code, _, err = nnkit(
        project, "train", *words, "trainer.max_epochs=2", "optimizer.lr=0.01", "name=letters"
    )
    assert code == 0, err
    code, out, err = nnkit(
        project, "generate", "letters", "--prompt", "abcd", "--length", "8", "--temperature", "0"
    )
    assert code == 0, err
    assert out.strip() == "abcd" * 3
