"""`nnkit list`: the option files there are."""

import subprocess
import sys
from pathlib import Path

import pytest

from nnkit.config.catalog import conf_dir
from nnkit.ui import terminal

LIGHT = [
    [],
    ["list"],
    ["list", "model"],
    ["show", "model/lenet5"],
    ["runs"],
    ["completion", "--words", "train", "model.h"],
]


def rows(out):
    return {line.split("\t")[0]: line.split("\t")[1:] for line in out.splitlines()}


def test_all_groups_with_their_files(cli):
    code, out, _ = cli("list")
    listed = rows(out)
    assert code == 0
    for folder in conf_dir().iterdir():
        files = sorted(path.stem for path in folder.glob("*.yaml")) if folder.is_dir() else []
        if files and folder.name != "hydra":
            assert listed[folder.name] == [str(len(files)), ", ".join(files)]


def test_options_come_with_their_first_line_and_the_default_is_marked(cli):
    code, out, _ = cli("list", "optimizer")
    listed = rows(out)
    assert code == 0
    for path in (conf_dir() / "optimizer").glob("*.yaml"):
        assert listed[path.stem][0] == path.read_text().splitlines()[0].removeprefix("# ")
    assert [name for name, (_, marks) in listed.items() if marks == "default"] == ["adamw"]
    assert sum("default" in marks for _, marks in rows(cli("list", "callbacks")[1]).values()) > 1


def test_options_of_ones_own_are_marked(cli):
    Path("conf/model").mkdir(parents=True)
    Path("conf/model/mlp.yaml").write_text("# Mine.\n_target_: nnkit.models.mlp.MLP\n")
    Path("conf/model/new.yaml").write_text("_target_: nnkit.models.mlp.MLP\n")
    listed = rows(cli("list", "model")[1])
    assert listed["mlp"] == ["Mine.", "yours"]
    assert listed["new"] == ["", "yours"]
    assert listed["cnn"][1] == ""


def test_options_of_another_folder_are_listed_with_config_dir(cli):
    Path("more/model").mkdir(parents=True)
    Path("more/model/extra.yaml").write_text("# Extra.\n")
    assert "extra" in cli("list", "model", "--config-dir", "more")[1]
    assert "extra" not in cli("list", "model")[1]


@pytest.mark.parametrize(
    ("word", "hint"), [("modle", "did you mean model?"), ("cnn", "model/cnn"), ("xyz", "there is:")]
)
def test_a_group_that_does_not_exist(cli, word, hint):
    code, out, err = cli("list", word)
    assert (code, out) == (2, "")
    assert hint in err


def test_a_terminal_gets_a_table(cli, monkeypatch):
    monkeypatch.setattr(terminal, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    out = cli("list", "model")[1]
    assert "what it is" in out
    assert "\t" not in out
    assert all(len(line) <= 60 for line in out.splitlines())


@pytest.mark.parametrize("words", LIGHT, ids=" ".join)
def test_what_needs_no_torch_does_not_import_it(words):
    code = f"import sys; from nnkit.cli import main; main({words!r}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "lightning", "numpy", "hydra", "omegaconf", "PIL"}
    assert not heavy & set(done.stderr.split())
