"""`nnkit show`: an option file as it stands."""

import re
from pathlib import Path

import pytest

from nnkit.config.catalog import conf_dir
from nnkit.ui import terminal


@pytest.mark.parametrize("spec", ["model/lenet5", "model=lenet5", "model/lenet5.yaml"])
def test_a_pipe_gets_the_file_byte_for_byte(cli, spec):
    assert cli("show", spec)[:2] == (0, (conf_dir() / "model/lenet5.yaml").read_text())


def test_the_defaults(cli):
    assert cli("show", "train")[1] == (conf_dir() / "train.yaml").read_text()


def test_ones_own_file_comes_first(cli):
    Path("conf/model").mkdir(parents=True)
    Path("conf/model/lenet5.yaml").write_text("mine: 1\n")
    assert cli("show", "model/lenet5")[1] == "mine: 1\n"


def test_a_terminal_gets_the_path_and_every_line(cli, monkeypatch):
    monkeypatch.setattr(terminal, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    out = re.sub(r"\x1b\[[0-9;]*m", "", cli("show", "optimizer/sgd")[1])
    lines = [line.rstrip() for line in out.splitlines()]
    path = conf_dir() / "optimizer/sgd.yaml"
    assert lines[0].endswith("optimizer/sgd.yaml")
    assert [line for line in lines[1:] if line] == [line for line in path.read_text().splitlines() if line]


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("model/lenet", "did you mean model/lenet5?"),
        ("modl/lenet5", "did you mean model/lenet5?"),
        ("lenet5", "did you mean model/lenet5?"),
        ("model", "there is: bert, bert_base"),
        ("model/../../pyproject", "model has no option"),
        ("../pyproject", "there is no group"),
        ("hydra/x", "there is no group"),
    ],
)
def test_what_does_not_exist_is_refused_with_a_hint(cli, spec, hint):
    code, out, err = cli("show", spec)
    assert (code, out) == (2, "")
    assert hint in err
