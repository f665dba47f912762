"""`nnkit copy`: an option file of one's own."""

from pathlib import Path

import pytest

from nnkit.config import compose
from nnkit.config.catalog import conf_dir


def test_a_copy_shadows_the_original_and_can_be_changed(cli):
    code, out, _ = cli("copy", "model/mlp")
    copied = Path("conf/model/mlp.yaml")
    assert code == 0
    assert copied.read_bytes() == (conf_dir() / "model/mlp.yaml").read_bytes()
    assert "nnkit train model=mlp" in out
    assert "before nnkit's own" in out
    copied.write_text(copied.read_text().replace("hidden: [300, 100]", "hidden: [7]"))
    assert compose(["model=mlp"]).config.model.hidden == [7]


def test_a_copy_under_another_name_stands_beside_the_original(cli):
    code, out, _ = cli("copy", "data/digits", "mine")
    assert code == 0
    assert "nnkit train data=mine" in out
    assert "before" not in out
    # What the original chooses in other groups, the copy chooses too.
    assert compose(["data=mine"]).choices["model"] == compose(["data=digits"]).choices["model"]


def test_where_several_are_chosen_the_copy_is_added(cli):
    out = cli("copy", "callbacks/ema", "slow_ema")[1]
    assert "'+callbacks=slow_ema'" in out
    assert "ema" in compose(["+callbacks=slow_ema"]).config.callbacks


def test_nothing_is_overwritten(cli):
    Path("conf/model").mkdir(parents=True)
    Path("conf/model/mlp.yaml").write_text("precious: 1\n")
    code, _, err = cli("copy", "model/mlp")
    assert code == 2
    assert "exists already" in err
    assert Path("conf/model/mlp.yaml").read_text() == "precious: 1\n"


@pytest.mark.parametrize("name", ["../mlp", "a/b", "", ".hidden", "has space"])
def test_a_name_that_is_none(cli, name):
    code, _, err = cli("copy", "model/mlp", name)
    assert code == 2
    assert "is no name" in err
    assert not Path("conf").exists()


def test_a_file_in_the_way(cli):
    Path("conf").write_text("")
    code, _, err = cli("copy", "model/mlp")
    assert code == 2
    assert "conf" in err


def test_the_defaults_are_not_copied(cli):
    code, _, err = cli("copy", "train")
    assert code == 2
    assert "conf/experiment" in err
