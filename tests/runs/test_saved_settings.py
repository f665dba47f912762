"""Settings of a saved config are those of the whole file, however it is written."""

import time
from pathlib import Path

import pytest
import yaml

import nnkit
from nnkit import config as configs
from nnkit.config.migration import flatten, migrate
from nnkit.files.layout import CONFIG
from nnkit.runs.saved_settings import read_settings


def whole(text):
    return dict(flatten(migrate(yaml.safe_load(text))))


def read(text, tmp_path):
    path = tmp_path / CONFIG
    path.write_text(text, encoding="utf-8")
    return read_settings(path)


@pytest.mark.parametrize(
    "text",
    [
        "seed: 1\nmodel:\n  hidden: [3, 4]\n  name: a\n",
        "# first\n\nseed: 1\n# between\nmodel: {a: 1}\n",
        # Bound together over the left edge.
        "a: &x\n  b: 1\nc: *x\n",
        "base: &x {b: 1}\nmore:\n  <<: *x\n  d: 2\n",
        "a: |\n  seed: 3\n  lr: 4\nb: 5\n",
        "a: 'first\n  second: x'\nb: 1\n",
        "a: [1,\n  2]\nb: {c: 1,\n  d: 2}\n",
        "a: [1,\n2]\nb: 3\n",
        "a: 1\n1: 2\n",
        '"a": 1\nb: 2\n',
        "a: 1\na: 2\nb: 3\n",
        "a:\nb: null\nc: .inf\nd: 1e-3\ne: 2020-01-01\n",
        "---\na: 1\nb: 2\n",
        "model:\n  _target_: nnkit.models.cnn.CNN\n",
        "data: \u4e16\u754c\n",
    ],
)
def test_settings_are_those_of_the_whole_file(text, tmp_path):
    assert read(text, tmp_path) == whole(text)


@pytest.mark.parametrize(
    "text", ["", "- 1\n", "a: [\n", "a: 1\n b: 2\n", "a: 1\n---\nb: 2\n", "x" * 2_000_000]
)
def test_what_is_no_config_has_no_settings(text, tmp_path):
    assert read(text, tmp_path) == {}


def test_settings_of_a_run_are_those_that_it_was_trained_with(tmp_path):
    words = ["data=iris", "model=mlp_small", "trainer.max_steps=1", "logger=[]", "callbacks=[]", "seed=7"]
    run = nnkit.train([*words, f"output_dir={tmp_path}"]).run
    config = configs.load(run.path / CONFIG)
    text = (run.path / CONFIG).read_text()
    assert run.settings() == whole(text)
    assert run.settings()["seed"] == config.seed == 7


@pytest.mark.parametrize(
    "part",
    ["a{}: [" + "[" * 100 + "]" * 100 + "]\n", "a{}: &x [1,1,1,1,1,1,1,1,1,1]\n"],
)
def test_a_hostile_file_costs_no_more_than_it_did(part, tmp_path):
    begun = time.process_time()
    read("".join(part.format(number) for number in range(20_000)), tmp_path)
    # Far above what it takes, and far below what aliases within each part could come to.
    assert time.process_time() - begun < 20


def test_a_file_that_is_gone_has_no_settings(tmp_path):
    assert read_settings(tmp_path / CONFIG) == {}
    assert read_settings(Path("/dev/zero")) == {}
