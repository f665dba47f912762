"""The option files that exist, found in a clone and in a wheel, and described without loading them."""

from pathlib import Path

import pytest
import yaml

from nnkit.config import catalog


def test_the_wheels_own_folder_comes_before_the_clones(tmp_path, monkeypatch):
    clone, wheel = tmp_path / "clone", tmp_path / "wheel"
    for root, folders in ((clone, ["conf"]), (wheel, ["conf", "nnkit/conf"])):
        for folder in folders:
            (root / folder).mkdir(parents=True)
        monkeypatch.setattr(catalog, "__file__", str(root / "nnkit" / "config" / "catalog.py"))
        assert catalog.conf_dir() == root / folders[-1]


def test_our_own_folder_is_not_taken_for_a_users(monkeypatch):
    monkeypatch.chdir(catalog.conf_dir().parent)
    assert catalog.user_dir() is None


@pytest.mark.parametrize("group", catalog.groups())
def test_every_option_has_a_description(group):
    for option in catalog.options(group):
        text = catalog.describe(group, option)
        assert text
        assert not text.startswith(("nnkit ", "@"))


def test_an_option_that_builds_on_another_takes_over_its_keys(tmp_path):
    path = Path("conf/model/mine.yaml")
    path.parent.mkdir(parents=True)
    path.write_text("defaults: [mlp, _self_]\nembeds:\n  tokens: {}\n")
    below = yaml.safe_load((catalog.conf_dir() / "model/mlp.yaml").read_text())
    assert catalog.kinds_of_model("mine") == [*below["embeds"], "tokens"]
    assert "mine" in catalog.models_for("table")


@pytest.mark.parametrize("text", ["a: [", "3", "defaults: [mine]", "\x00"])
def test_a_broken_file_does_not_break_the_list(text):
    path = Path("conf/model/mine.yaml")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert catalog.kinds_of_model("mine") == []
    assert "mine" in catalog.options("model")
