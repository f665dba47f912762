"""Every key is explained: by what its class, its file and its checks say."""

import importlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from nnkit.config import catalog, compose, examine
from nnkit.config.explanation import _keys, explain, of_composition, of_defaults
from nnkit.config.hints import describe
from nnkit.config.keys import all_keys
from nnkit.config.known import at
from nnkit.config.signatures import Range, sentence, source_of
from nnkit.errors import ConfigError
from nnkit.factory.nodes import signature
from nnkit.runs.preflight import sound


def keys_of_defaults():
    return [*dict.fromkeys([*catalog.groups(), *all_keys(compose([]).config)])]


def targets(content):
    if isinstance(content, dict):
        if isinstance(content.get("_target_"), str):
            yield content["_target_"]
        for child in content.values():
            yield from targets(child)


CLASSES = sorted(
    {
        target
        for path in catalog.conf_dir().rglob("*.yaml")
        for target in targets(yaml.safe_load(path.read_text(encoding="utf-8")))
    }
)


def test_every_key_of_the_defaults_is_explained():
    explainer, keys = of_defaults(), keys_of_defaults()
    assert len(keys) > 140
    for key in keys:
        found = explainer.explain(key)
        assert found.key == key
        assert found.takes and found.takes != "anything", key
        assert found.settings, key
        # Of these groups nothing is chosen.
        assert found.means or key in {"metrics", "adapter", "experiment", "debug"}, key
        assert found.command or found.note, key


def test_the_short_way_to_the_defaults_says_what_the_composition_says():
    slow, fast = of_composition(compose([])), of_defaults()
    assert slow.raw == fast.raw
    for key in keys_of_defaults():
        assert slow.explain(key) == fast.explain(key), key


@pytest.mark.parametrize("option", catalog.options("experiment"))
def test_every_key_of_every_experiment_is_explained(option):
    explainer = of_composition(compose([f"experiment={option}"]))
    for key in all_keys(compose([f"experiment={option}"]).config):
        found = explainer.explain(key)
        assert found.settings and (found.command or found.note) and found.takes != "anything", key


def test_the_last_place_is_the_one_that_errors_name():
    words = ["experiment=lstm_langid", "optimizer.lr=1e-3", "data.batch_size=32"]
    composition = compose(words)
    explainer = of_composition(composition)
    for key in set(all_keys(composition.config)) - set(catalog.groups()):
        places = [one.place for one in explainer.explain(key).settings if one.place != "nnkit"]
        assert places[-1:] == [composition.where(key)], key


@pytest.mark.parametrize("target", CLASSES)
def test_a_class_is_read_from_its_source_as_it_is(target):
    module, _, name = target.rpartition(".")
    cls, source = getattr(importlib.import_module(module), name), source_of(target)
    parameters, is_open = signature(cls)
    assert list(source.arguments) == list(parameters)
    assert source.is_open == is_open
    for argument, one in source.arguments.items():
        hint = describe(parameters[argument].hint)
        # Callables are no values of a config.
        if not argument.startswith("make_") and "dataset" not in argument:
            assert describe(one.hint) == hint, argument
        assert one.needed == parameters[argument].needed, argument


def bounds():
    """Yield numbers just inside and just outside of what an explanation says, by key."""
    explainer = of_defaults()
    for key in _keys(explainer.raw):
        parent, _, name = key.rpartition(".")
        node = at(explainer.raw, parent)
        source = source_of(node["_target_"]) if parent and "_target_" in node else None
        argument = source.arguments.get(name) if source is not None else None
        if (
            argument is None
            or argument.range is None
            or argument.range.of_each
            or not explainer.explain(key).command
        ):
            continue
        # A value that follows another key is that key's mistake.
        step, one = 1 if argument.hint in (int, int | None) else 1e-6, argument.range
        for end, is_open, way in ((one.least, one.opens, -1), (one.most, one.closes_before, 1)):
            if end is not None and "$" not in str(node[name]):
                end = end if step == 1 else float(end)
                good, bad = (end - way * step, end) if is_open else (end, end + way * step)
                yield pytest.param(key, good, bad, id=f"{key}{'><'[way < 0]}{end}")


@pytest.mark.parametrize(("key", "good", "bad"), [*bounds()])
def test_a_range_is_the_one_that_is_checked(key, good, bad):
    def problems(value):
        try:
            sound(*examine([f"{key}={value}"]))
        except ConfigError as error:
            return [problem.key for problem in error.problems]
        return []

    assert key in problems(bad)
    assert key not in problems(good)


def test_ranges_in_words():
    assert str(Range(least=0, most=1, closes_before=True)) == "at least 0 and below 1"
    assert str(Range(least=0, opens=True, of_each=True)) == "each above 0"
    assert explain([], "optimizer.betas").takes == "a list of 2 numbers; each at least 0 and below 1"
    assert explain([], "optimizer.lr").takes == "a number; at least 0"
    assert explain([], "trainer.max_steps").takes == "a whole number; at least 1, or -1 for no limit"
    assert explain([], "model.pooling").takes == "one of max, average"
    assert explain([], "name").takes == "the plain name of a directory or null"


def test_every_layer_in_its_order():
    found = explain(["experiment=lenet5_mnist", "data.augment.shift=2"], "data.augment.shift")
    assert [one.place.split(":")[0] for one in found.settings] == [
        "conf/data/mnist.yaml",
        "conf/experiment/lenet5_mnist.yaml",
        "command line",
    ]
    assert [one.value for one in found.settings] == ["0", "1", "data.augment.shift=2"]
    assert found.value == "2"
    assert "Pixels to move by, black coming in." in found.means


def test_what_nnkit_makes_of_a_value_is_the_last_layer():
    found = explain(["trainer.max_steps=100"], "trainer.max_epochs")
    assert (found.value, found.settings[-1].place) == ("-1", "nnkit")
    assert "max_steps" in found.settings[-1].comment


def test_a_reference_is_followed_to_what_is_to_be_typed():
    found = explain([], "scheduler.max_lr")
    assert (found.value, found.follows) == ("0.003", ("optimizer.lr",))
    assert found.command == "nnkit train optimizer.lr=0.003"
    chain = explain([], "callbacks.checkpoint.monitor")
    assert (chain.value, chain.follows) == ("val/accuracy", ("monitor", "task.monitor"))
    assert chain.command == "nnkit train monitor=val/accuracy"


def test_what_is_typed_keeps_the_other_words():
    found = explain(["model=mlp", "optimizer.lr=0.1"], "optimizer.lr")
    assert found.command == "nnkit train model=mlp optimizer.lr=0.1"
    assert explain([], "trainer.detect_anomaly").command == "nnkit train trainer.detect_anomaly=true"
    assert explain([], "trainer.precision").command == "nnkit train trainer.precision=fastest"


def test_what_is_typed_composes():
    for key in keys_of_defaults():
        command = of_defaults().explain(key).command
        word = command.removeprefix("nnkit train ").strip("'")
        if command and not word.rpartition("=")[2].isupper() and "[A,B]" not in word:
            assert not examine([word])[1], word


def test_a_value_from_the_environment_is_not_shown(monkeypatch):
    monkeypatch.setenv("SECRET_FOLDER", "hunter2hunter2")
    for key in ("output_dir", "data.root"):
        found = explain([f"{key}=${{oc.env:SECRET_FOLDER}}"], key)
        assert found.value == "${oc.env:SECRET_FOLDER}"
        assert "hunter2" not in repr(found)


def test_a_file_of_ones_own_is_named():
    Path("conf/optimizer").mkdir(parents=True)
    Path("conf/optimizer/mine.yaml").write_text(
        "# Mine.\n_target_: torch.optim.SGD\n# How fast.\nlr: 0.5\n", encoding="utf-8"
    )
    found = explain(["optimizer=mine"], "optimizer.lr")
    assert (found.value, found.settings[-1].place) == ("0.5", "./conf/optimizer/mine.yaml:4")
    assert found.means[0] == "How fast."
    assert explain([], "optimizer").command == "nnkit train optimizer=adagrad"
    assert ("mine", "Mine.") in explain([], "optimizer").inner


def test_a_class_of_ones_own_is_read_and_not_imported():
    Path("mine").mkdir()
    Path("mine/__init__.py").write_text("raise RuntimeError('imported')\n", encoding="utf-8")
    Path("mine/body.py").write_text(
        "class Body:\n"
        '    """A body.\n\n    Args:\n        width: How wide.\n    """\n\n'
        "    def __init__(self, dim_in: int, width: int = 8) -> None:\n"
        "        if width < 2:\n            raise ValueError(f'width must be at least 2, not {width}')\n",
        encoding="utf-8",
    )
    found = source_of("mine.body.Body")
    assert found.about == "A body."
    assert (found.arguments["width"].about, str(found.arguments["width"].range)) == (
        "How wide.",
        "at least 2",
    )
    assert "mine" not in sys.modules


def test_sentences_end_where_they_end():
    assert sentence("Such as e.g. this one. And more.") == "Such as e.g. this one."
    assert sentence("A rate of 0.5 each. Next.") == "A rate of 0.5 each."


def test_an_answer_needs_neither_torch_nor_hydra():
    code = (
        "import sys; from nnkit.cli import main; main(['explain', 'trainer.max_epochs']);"
        "sys.exit(bool({'torch', 'hydra', 'omegaconf', 'rich', 'lightning'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_all_keys_in_one_process_take_less_than_each_may():
    begun = time.process_time()
    explainer, keys = of_defaults(), keys_of_defaults()
    for key in keys:
        explainer.explain(key)
    assert (time.process_time() - begun) / len(keys) < 0.5
