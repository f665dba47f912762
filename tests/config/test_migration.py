"""Configs of older releases name their classes where they live now."""

import importlib

import pytest

from nnkit.config import composition as configs
from nnkit.config.migration import MOVED, migrate


@pytest.mark.parametrize("new", MOVED.values())
def test_every_new_place_exists(new):
    importlib.import_module(new)


def test_a_moved_class_is_named_where_it_lives_now_and_another_is_left_alone():
    old = {
        "data": {"_target_": "nnkit.data.iris.Iris", "seed": "${seed}"},
        "callbacks": [{"_target_": "mine.nnkit.data.iris.Iris", "note": "nnkit.data.iris.Iris"}],
    }
    new = migrate(old)
    assert new["data"] == {"_target_": "nnkit.data.datasets.iris.Iris", "seed": "${seed}"}
    assert new["callbacks"] == old["callbacks"]


def test_a_saved_config_of_before_the_move_opens():
    text = configs.to_yaml(configs.compose(["model=mlp", "data=iris"]).config)
    assert "nnkit.data.datasets.iris.Iris" in text
    config = configs.from_yaml(text.replace("nnkit.data.datasets.iris", "nnkit.data.iris"))
    assert config.data._target_ == "nnkit.data.datasets.iris.Iris"
    assert configs.to_yaml(config) == text
