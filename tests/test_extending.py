"""docs/extending.md is executed: its files, in a folder of their own, train with what ships."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert len(blocks) == 8
    return tmp_path


def nnkit(project, *words, trust="mine"):
    environment = {**os.environ, "NNKIT_TRUST": trust}
    command = [sys.executable, "-m", "nnkit.cli", *words]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=120)


def test_the_documents_command_trains_tests_and_calls_the_callback(project):
    command = re.search(r"^nnkit (train .*)$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)[1].split()
    done = nnkit(project, *command, "name=mine", "trainer.max_epochs=30", "optimizer.lr=0.01")
    assert done.returncode == 0, done.stderr
    run = project / "outputs" / "mine"
    record = json.loads((run / "run.json").read_text())
    assert record["metrics"]["test/accuracy"] > 0.7
    assert (run / "stopwatch.txt").read_text().endswith(" s\n")
    tested = nnkit(project, "test", "mine")
    assert tested.returncode == 0, tested.stderr
    assert f"{record['metrics']['test/accuracy']:.4f}" in tested.stdout


def test_without_trust_nothing_of_the_users_is_imported(project):
    (project / "mine" / "mixer.py").write_text("open('canary', 'w')")
    done = nnkit(project, "train", "model=mixer", "data=spirals", trust="")
    assert done.returncode == 2
    assert "NNKIT_TRUST" in done.stderr
    assert not (project / "canary").exists()
    assert not (project / "outputs").exists()


def test_mistakes_in_the_users_own_yaml_are_sentences(project):
    words = ["train", "model=mixer", "data=spirals", "model.num_layers=0", "loss=margin", "loss.widht=2"]
    done = nnkit(project, *words)
    assert done.returncode == 2
    assert "num_layers must be at least 1" in done.stderr
    assert "loss.width" in done.stderr
    assert "Traceback" not in done.stderr
