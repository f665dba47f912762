"""Composing: the same as Hydra's own, with every mistake found, and torch left alone."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from nnkit import config as configs
from nnkit.config import catalog, compose, composition, examine, from_yaml
from nnkit.config.keys import all_keys
from nnkit.config.overrides import parse, quote
from nnkit.errors import ConfigError, UserError


def write(path, text):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(*overrides, **options):
    with pytest.raises(ConfigError) as error:
        compose(list(overrides), **options)
    return error.value.problems


# ------------------------------------------------------------------------------- what Hydra would have composed


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model=mlp", "model.hidden=[5,6]", "optimizer=sgd", "optimizer.lr=1e-2"],
        ["data=diabetes", "seed=3", "name=x"],
        ["experiment=lenet5_1998_mnist", "optimizer.lr=0.5"],
        ["+callbacks=ema", "~callbacks.progress", "callbacks.ema.decay=0.5"],
        ["callbacks=[]", "logger=[]"],
        ["+optimizer.maximize=true", "++optimizer.capturable=false", "~optimizer.amsgrad"],
    ],
    ids=" ".join,
)
def test_the_result_is_hydras(overrides):
    with initialize_config_dir(str(catalog.conf_dir()), version_base="1.3"):
        expected = OmegaConf.to_container(hydra_compose("train", overrides))
    ours = compose(overrides)
    kind = expected["data"]["kind"]
    embed = expected["model"]["embeds"][kind]
    # A fact that these data do not have is left to the embed's default.
    left_out = {"${data.cardinalities}"} if "cardinalities" not in expected["data"] else set()
    expected["model"]["embeds"] = {
        kind: {name: value for name, value in embed.items() if str(value) not in left_out}
    }
    assert configs.plain(ours.config) == expected
    assert len(ours.overrides) == len(overrides)


def test_choices_name_the_option_of_each_group():
    choices = compose(["data=diabetes", "+callbacks=ema", "logger=[]"]).choices
    assert choices["data"] == "diabetes"
    # Chosen by the data, and by the task the data chose.
    assert (choices["task"], choices["head"]) == ("regression", "regressor")
    assert choices["callbacks"][-1] == "ema"
    assert choices["logger"] == []
    assert choices["experiment"] is None


def test_callbacks_that_are_set_and_added_to_are_all_there():
    config = compose(
        ["+callbacks=nan_guard", "callbacks=[checkpoint]", "+callbacks=ema", "+callbacks=[progress]"]
    ).config
    assert list(config.callbacks) == ["checkpoint", "ema", "progress"]


def test_only_the_embed_of_the_datas_kind_is_kept():
    assert list(compose(["model=mlp", "data=mnist"]).config.model.embeds) == ["pictures"]
    assert list(compose(["model=mlp", "data=iris"]).config.model.embeds) == ["table"]


@pytest.mark.parametrize(
    ("overrides", "epochs"),
    [
        ([], "${data.max_epochs}"),
        (["trainer.max_steps=50"], -1),
        (["trainer.max_steps=50", "trainer.max_epochs=3"], 3),
        (["trainer.max_steps=-1"], "${data.max_epochs}"),
        (["trainer.max_time=00:00:01:00"], "${data.max_epochs}"),
    ],
)
def test_max_steps_alone_lifts_the_limit_on_epochs(overrides, epochs):
    assert configs.plain(compose(overrides).config)["trainer"]["max_epochs"] == epochs


def test_composing_imports_neither_torch_nor_lightning():
    code = (
        "import sys, nnkit.config as c; c.compose([]).where('seed'); "
        "print({'torch', 'lightning'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_catalog_imports_no_hydra_either():
    code = (
        "import sys, nnkit.config.catalog as c, nnkit.suggest; c.describe('model', c.options('model')[0]); "
        "print({'torch', 'hydra', 'omegaconf'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# ------------------------------------------------------------------------------------------------- text as typed


@pytest.mark.parametrize(
    "text",
    [
        "~/été.csv",
        "a=b.csv",
        "with space.csv",
        "it's.csv",
        "x(1).csv",
        "50%#a.csv",
        "C:\\data\\x",
        "a\\'b",
        "日本.csv",
        "{}",
    ],
)
def test_a_path_hydra_cannot_read_is_taken_as_text(text):
    typed = f"data.path={text}" if text != "{}" else "data.path='{}'"
    assert compose(["data=csv", typed]).config.data.path == text


def test_quoting_is_undone_by_hydras_grammar():
    letters = "ab'\\\" é~=,{}[]$#()\t"
    texts = [a + b + c for a in letters for b in letters for c in letters]
    words = parse([f"k={quote(text)}" for text in texts])
    assert [override.value() for override in words.overrides] == texts


@pytest.mark.parametrize("name", ["2024", "1e3", "true", "x", "'x'"])
def test_a_name_is_text_whatever_it_looks_like(name):
    assert compose([f"name={name}"]).config.name == name.strip("'")


def test_overrides_can_be_composed_again():
    first = compose(["data=csv", "data.path=~/é.csv", "name=2024", "+callbacks=ema"])
    assert compose(list(first.overrides)).config == first.config


# ------------------------------------------------------------------------------------------------------ mistakes


def test_every_mistake_of_a_line_is_named():
    found = problems_of(
        "model=lenet6", "optimizer=adamm", "lr=3", "+typo=1", "lenet5", "a=1,2", "callbacks=[emaa]"
    )
    assert len(found) == 7


def test_a_wrong_choice_hides_what_may_follow_from_it():
    # The default model stands in for lenet6, and its keys say nothing about those of the one that was meant.
    assert [problem.key for problem in problems_of("model=lenet6", "model.layers=3", "seeed=1")] == [
        "model",
        "seeed",
    ]


def test_what_is_right_is_composed_beside_the_mistakes():
    composition, problems = examine(["model=lenet6", "optimizer.lr=0.5"])
    assert len(problems) == 1
    assert composition.broken == {"model"}
    assert composition.config.optimizer.lr == 0.5


def test_a_reference_to_nothing_is_named_with_its_place(tmp_path):
    write(
        tmp_path / "conf/experiment/mine.yaml",
        "# @package _global_\nseed: ${data.nothing}\nname: ${oc.env:NO_SUCH}\n",
    )
    first, second = problems_of("experiment=mine")
    assert (first.key, first.where) == ("seed", "./conf/experiment/mine.yaml:2")
    assert "data.nothing" in first.text
    assert "NO_SUCH" in second.text


def test_a_value_that_must_be_given_is_asked_for(tmp_path):
    write(tmp_path / "conf/loss/mine.yaml", "_target_: torch.nn.HuberLoss\ntakes: [one_hot]\ndelta: ???\n")
    (problem,) = problems_of("loss=mine")
    assert (problem.key, problem.text, problem.hint) == ("loss.delta", "must be given", "loss.delta=...")
    assert problem.where == "./conf/loss/mine.yaml:3"
    assert compose(["loss=mine", "loss.delta=3"]).config.loss.delta == 3


def test_a_model_that_does_not_take_the_data_is_answered_with_what_fits():
    (problem,) = problems_of("model=lenet5", "data=iris")
    models = re.search(r"models that take table: ([^;]*)", problem.hint)[1].split(", ")
    for model in catalog.options("model"):
        assert (not examine([f"model={model}", "data=iris"])[1]) == (model in models)


# --------------------------------------------------------------------------------------------- the user's ./conf


def test_a_users_file_shadows_ours_and_a_new_one_appears(tmp_path):
    write(tmp_path / "conf/optimizer/adamw.yaml", "# Mine.\n_target_: torch.optim.AdamW\nlr: 7.0\n")
    write(tmp_path / "conf/loss/mine.yaml", "# My own.\n_target_: torch.nn.MSELoss\ntakes: [one_hot]\n")
    assert compose([]).config.optimizer.lr == 7.0
    assert compose(["loss=mine"]).config.loss.takes == ["one_hot"]
    assert "mine" in catalog.options("loss")
    assert catalog.describe("loss", "mine") == "My own."
    assert catalog.source("optimizer", "adamw") == tmp_path / "conf/optimizer/adamw.yaml"


def test_a_config_dir_adds_and_never_shadows(tmp_path):
    more = tmp_path / "it's more"
    write(more / "optimizer/adamw.yaml", "_target_: torch.optim.AdamW\nlr: 7.0\n")
    write(more / "loss/mine.yaml", "_target_: torch.nn.MSELoss\ntakes: [one_hot]\n")
    composition = compose(["loss=mine"], config_dir=more)
    assert composition.config.optimizer.lr != 7.0
    assert composition.config.loss.takes == ["one_hot"]
    assert composition.where("loss.takes") == "./it's more/loss/mine.yaml:2"
    assert problems_of("loss=mine")[0].key == "loss"
    (problem,) = problems_of(config_dir=tmp_path / "nowhere")
    assert "no such directory" in problem.text


def test_a_users_train_yaml_and_hydra_folder_are_ignored_with_a_word(tmp_path, caplog):
    write(tmp_path / "conf/train.yaml", "seed: 77\n")
    write(tmp_path / "conf/hydra/launcher/evil.yaml", "_target_: os.system\n")
    assert compose([]).config.seed == 0
    assert "conf/train.yaml is ignored" in caplog.text
    assert "conf/hydra is ignored" in caplog.text


HYDRA_SETTINGS = [
    "# @package _global_\nhydra:\n  callbacks:\n    x:\n      _target_: os.system\n",
    "# @package _global_\nhydra:\n  run:\n    dir: /tmp/elsewhere\n",
    "# @package _global_\nhydra:\n  job:\n    env_set:\n      PATH: /tmp\n",
    "# @package hydra\nrun:\n  dir: /tmp/elsewhere\n",
    "# @package hydra.callbacks\nx:\n  _target_: os.system\n",
    "# @package _global_\ndefaults:\n  - override /hydra/launcher: evil\n",
    "# @package _global_\ndefaults:\n  - /hydra/launcher@hydra.launcher: basic\n",
]


@pytest.mark.parametrize("text", HYDRA_SETTINGS)
@pytest.mark.parametrize("place", ["conf", "more"])
def test_no_file_sets_up_hydra(text, place, tmp_path):
    write(tmp_path / place / "experiment/mine.yaml", text)
    (problem,) = problems_of("experiment=mine", config_dir=tmp_path / "more" if place == "more" else None)
    assert problem.key == "hydra"
    assert "experiment/mine.yaml" in problem.text


@pytest.mark.parametrize(
    "entry", ["lenet5", "/model/lenet5", "/model: lenet5", "override /model: lenet5", "/model@_here_: lenet5"]
)
def test_a_file_that_names_itself_is_refused(entry, tmp_path):
    write(tmp_path / "conf/model/lenet5.yaml", f"defaults:\n  - {entry}\ndropout: 0.5\n")
    (problem,) = problems_of("model=lenet5")
    assert "name the file itself" in problem.text
    assert "nnkit copy model/lenet5" in problem.hint


def test_files_that_name_each_other_are_refused(tmp_path):
    write(tmp_path / "conf/model/one.yaml", "defaults: [two]\n")
    write(tmp_path / "conf/model/two.yaml", "defaults: [one]\n")
    (problem,) = problems_of("model=one")
    assert "lead back" in problem.text


BROKEN = {
    "a: [1\n": "line 2",
    "a: 1\na: 2\n": "duplicate key a",
    "a: !!python/object/apply:os.system [ls]\n": "python",
    "- 1\n": "holds no keys",
    "# @package a b c\n": "Too many components",
    "defaults: 3\n": "defaults must be a list",
    "defaults: [{a: 1, b: 2}]\n": "Too many keys",
    "# @package _global_\ndefaults:\n  - override /model: lenet6\n": "model: lenet5",
    "# @package _global_\ndefaults:\n  - override /modle: mlp\n": "modle",
    "# @package _global_\nmodel: 3\n": "model",
    "# @package _global_\noptimiser:\n  lr: 3\n": "did you mean optimizer?",
    "# @package _global_\nfit: 3\n": "fit",
}


@pytest.mark.parametrize(("text", "expected"), BROKEN.items())
def test_a_broken_file_is_answered(text, expected, tmp_path):
    write(tmp_path / "conf/experiment/mine.yaml", text)
    (problem,) = problems_of("experiment=mine")
    assert expected in str(problem)
    assert "Traceback" not in str(problem)


def test_a_file_in_another_encoding_is_answered(tmp_path):
    (write(tmp_path / "conf/experiment/mine.yaml", "")).write_bytes("name: é".encode("latin-1"))
    (problem,) = problems_of("experiment=mine")
    assert "UTF-8" in problem.text


# ---------------------------------------------------------------------------------------------------- provenance


def test_every_key_is_found_in_the_line_that_is_named():
    composition = compose(["experiment=lenet5_mnist"])
    keys = [key for key in all_keys(composition.config) if "." in key or key in catalog.plain_keys()]
    assert len(keys) > 60
    for key in keys:
        name, line = composition.where(key).rsplit(":", 1)
        path = catalog.conf_dir() / Path(name).relative_to("conf")
        assert key.rpartition(".")[2] in path.read_text().splitlines()[int(line) - 1]


def test_the_last_to_set_a_key_is_named(tmp_path):
    write(tmp_path / "conf/experiment/mine.yaml", "# @package _global_\n\noptimizer:\n  lr: 0.5\n")
    composition = compose(["experiment=mine", "optimizer.eps=1e-3", "model=mlp"])
    assert composition.where("optimizer.lr") == "./conf/experiment/mine.yaml:4"
    assert composition.where("optimizer.eps") == "command line"
    assert composition.where("model") == "command line"
    assert composition.where("model.hidden").startswith("conf/model/mlp.yaml:")
    assert composition.where("nothing.at.all") == ""


def test_the_file_that_chose_an_option_is_named():
    where = compose(["data=diabetes"]).where("task")
    assert where.startswith("conf/data/diabetes.yaml:")


# -------------------------------------------------------------------------------------------------- saved configs


def test_a_saved_config_comes_back(monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_TEST", "hunter2")
    composition = compose(["data=csv", "data.path=${oc.env:SECRET_OF_THE_TEST}"])
    for text in (composition.to_yaml(), configs.to_json(composition.config)):
        assert "hunter2" not in text
        again = from_yaml(text)
        assert again == composition.config
        assert again.data.path == "hunter2"


def test_a_saved_config_is_plain_data():
    composition = compose([])
    assert json.loads(configs.to_json(composition.config)) == configs.plain(composition.config)


def test_what_json_cannot_hold_is_read_back_as_well():
    composition = compose(["trainer.gradient_clip_val=inf"])
    text = configs.to_json(composition.config)
    assert configs.plain(from_yaml(text)) == configs.plain(composition.config)
    composition.config.name = b"mine"
    assert from_yaml(configs.to_json(composition.config)).name == b"mine"
    assert yaml.safe_load(composition.to_yaml()) == configs.plain(composition.config)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
HOSTILE = {
    "bomb": (BOMB, "aliases"),
    "merge bomb": (BOMB.replace("[x,", "[{b: x},").replace("a9:", "<<:"), "aliases"),
    "deep list": ("a: " + "[" * 300 + "]" * 300, "nested"),
    "deep mapping": ("{a: " * 300 + "1" + "}" * 300, "nested"),
    "deep block": ("".join(" " * n + "a:\n" for n in range(300)), "nested"),
    "python": ("a: !!python/object/apply:os.system ['touch canary']", "python"),
    "python name": ("a: !!python/name:os.system", "python"),
    "long": ("a: " + "x" * 1_000_001, "bytes"),
    "many": ("- a\n" * 200_000, "values"),
    "half": ("a: 1\nb: [1, \n", "not a valid YAML file in line 3"),
    "control": ("a: \x00", "valid"),
    "cycle": ("a: &a [*a]", "contains itself"),
    "two": ("a: 1\n---\nb: 2\n", "config.yaml"),
    "scalar": ("3", "config.yaml"),
    "nothing": ("", "missing"),
    "list": ("[1, 2]", "holds no keys"),
    "other keys": ("a: 1", "is missing"),
}


@pytest.mark.parametrize(("text", "expected"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_config_is_refused_at_once(text, expected):
    start = time.process_time()
    with pytest.raises(ConfigError, match=expected):
        from_yaml(text)
    assert time.process_time() - start < 1
    assert not Path("canary").exists()


def test_a_config_of_100_mb_is_not_even_read(tmp_path):
    path = tmp_path / "config.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    start = time.process_time()
    with pytest.raises(UserError, match="100,000,000 bytes"):
        configs.load(path)
    assert time.process_time() - start < 0.1


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_config_that_cannot_be_read_is_answered(content, tmp_path):
    if content is not None:
        (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"config.yaml cannot be read"):
        configs.load(tmp_path / "config.yaml")


def test_a_bomb_in_a_users_file_is_refused_too(tmp_path):
    write(tmp_path / "conf/experiment/mine.yaml", BOMB)
    (problem,) = problems_of("experiment=mine")
    assert "aliases" in problem.text


def test_a_copy_of_our_own_train_yaml_is_passed_over_without_a_word(tmp_path, caplog):
    (tmp_path / "conf").mkdir()
    own = (catalog.conf_dir() / "train.yaml").read_bytes()
    (tmp_path / "conf" / "train.yaml").write_bytes(own)
    compose([])
    assert "is ignored" not in caplog.text


def test_files_are_loaded_once_until_one_that_they_rest_on_changes(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    group = tmp_path / "conf" / "optimizer"
    (group / "sub").mkdir(parents=True)
    base, option = group / "sub" / "base.yaml", group / "mine.yaml"
    base.write_text("_target_: torch.optim.SGD\nlr: 0.1\nweight_decay: 0.0\n")
    option.write_text("defaults:\n  - sub/base@_here_\n  - _self_\nmomentum: 0.1\n")
    calls, load = [], composition._load_files
    monkeypatch.setattr(composition, "_load_files", lambda *given: calls.append(1) or load(*given))

    def found(*words):
        return dict(compose(["model=mlp", "data=iris", "optimizer=mine", *words]).config.optimizer)

    token = composition._LOADED.set(None)
    with composition.loading_once():
        assert found() == found("seed=2")
        assert len(calls) == 1
        base.write_text("_target_: torch.optim.SGD\nlr: 0.2\nweight_decay: 0.0\n")
        assert found()["lr"] == 0.2
        # As long as before, and with its time: `cp -p` does so.
        state = option.stat()
        option.write_text(option.read_text().replace("0.1", "0.3"))
        os.utime(option, ns=(state.st_atime_ns, state.st_mtime_ns))
        assert found()["momentum"] == 0.3
        assert len(calls) == 3
        assert found("optimizer.lr=1")["lr"] == 1
        assert len(calls) == 3
        base.unlink()
        with pytest.raises(ConfigError, match="sub/base"):
            found()
    composition._LOADED.reset(token)
