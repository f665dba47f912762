"""What a config may name: every way out of the fence is refused, nothing imported or run on the way."""

import sys

import pytest
from omegaconf import OmegaConf
from torch import nn

from nnkit.config import compose, from_yaml
from nnkit.errors import ConfigError
from nnkit.factory import build, fence, refuse_untrusted, target_class
from nnkit.factory.fence import BASES, RefusedError, resolve

GROUPS = sorted(BASES)

# Out of the fence by name, by a detour through a module that is inside, or by something that is no class.
ATTACKS = [
    "os.system",
    "posix.system",
    "subprocess.Popen",
    "builtins.open",
    "builtins.eval",
    "shutil.rmtree",
    "pickle.loads",
    "importlib.import_module",
    "torch.load",
    "torch.hub.load",
    "torch.jit.load",
    "torch.utils.cpp_extension.load_inline",
    "torch.nn.init.torch.load",
    "torch.nn.modules.container.operator.attrgetter",
    "torch.nn.Module.__init__.__globals__",
    "torch.nn.__builtins__.open",
    "torch.nn.__dict__",
    "torch.optim.lr_scheduler.math.sqrt",
    "torch.serialization.load",
    "torch.nn.functional.relu",
    "torch.nn.init.zeros_",
    "torch.optim.optimizer.cast",
    "torchvision.models.resnet18",
    "lightning.fabric.Fabric",
    "lightning.pytorch.cli.LightningCLI",
    "lightning.pytorch.callbacks.callback.Any",
    "nnkit.errors.Problem",
    "nnkit.checkpoint.store.CheckpointStore",
    "nnkit.config.composition.compose",
    "nnkit.cli.os.system",
    "nnkit.__main__.main",
    "nnkit",
    "torch",
    "torch.nn",
    "nnkit.models",
    "",
    ".",
    "..os.system",
    "os.system ",
    "torch.nn.Linear\n",
    "torch.nn.Linear()",
    "torch..nn.Linear",
    "ｏs.system",
    "${oc.env:HOME}",
]


@pytest.mark.parametrize("path", ATTACKS)
@pytest.mark.parametrize("group", ["model", "callbacks", "trainer"])
def test_an_attack_is_refused(path, group):
    with pytest.raises(RefusedError):
        resolve(path, group)


@pytest.mark.parametrize("path", [None, 3, ["torch.nn.Linear"], {"a": 1}, True])
def test_a_target_that_is_no_text_is_refused(path):
    with pytest.raises(RefusedError):
        resolve(path, "model")


@pytest.mark.parametrize("group", GROUPS)
def test_only_classes_of_the_groups_kind_are_taken(group):
    samples = {
        "torch.nn.Linear": {"model", "embeds", "head", "loss"},
        "torch.nn.MSELoss": {"model", "embeds", "head", "loss"},
        "torch.optim.AdamW": {"optimizer"},
        "torch.optim.lr_scheduler.StepLR": {"scheduler"},
        "torch.optim.lr_scheduler.ReduceLROnPlateau": {"scheduler"},
        "lightning.pytorch.Trainer": {"trainer"},
        "lightning.pytorch.callbacks.EarlyStopping": {"callbacks"},
        "lightning.pytorch.loggers.CSVLogger": {"logger"},
        "nnkit.data.datasets.iris.Iris": {"data"},
        "nnkit.tasks.regression.Regression": {"task", "model", "embeds", "head", "loss"},
    }
    taken = set()
    for path in samples:
        try:
            taken.add(resolve(path, group).__name__)
        except RefusedError:
            continue
    assert taken == {path.rpartition(".")[2] for path, groups in samples.items() if group in groups}


def test_a_class_that_is_borrowed_from_a_trusted_package_keeps_its_home(tmp_path, monkeypatch):
    (tmp_path / "mine_borrowed.py").write_text(
        "from torch.utils.data import DataLoader\nfrom torch.nn import GELU\n"
    )
    monkeypatch.setenv("NNKIT_TRUST", "mine_borrowed")
    monkeypatch.syspath_prepend(tmp_path)
    assert resolve("mine_borrowed.GELU", "model") is nn.GELU
    with pytest.raises(RefusedError, match="really torch"):
        resolve("mine_borrowed.DataLoader", "model")


def test_a_class_cannot_claim_a_home(tmp_path, monkeypatch):
    text = "from torch import nn\nclass Evil(nn.Module):\n    pass\nEvil.__module__ = 'torch.nn'\n"
    (tmp_path / "mine_claiming.py").write_text(text)
    monkeypatch.setenv("NNKIT_TRUST", "mine_claiming")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RefusedError, match="cannot be found there"):
        resolve("mine_claiming.Evil", "model")


def test_an_abstract_class_is_refused_with_what_it_lacks():
    with pytest.raises(RefusedError, match="prepare"):
        resolve("nnkit.data.base.DataModule", "data")


def test_the_working_directory_is_importable_only_when_trusted(tmp_path, monkeypatch):
    canary = tmp_path / "canary"
    code = f"import pathlib\npathlib.Path({str(canary)!r}).touch()\n"
    code += "from torch.nn import Linear\nclass Own(Linear): pass\n"
    (tmp_path / "mine_here.py").write_text(code)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    monkeypatch.setenv("NNKIT_TRUST", "")
    with pytest.raises(RefusedError) as refused:
        resolve("mine_here.Own", "model")
    assert "NNKIT_TRUST=mine_here" in refused.value.hint
    assert not canary.exists()
    assert str(tmp_path) not in sys.path
    monkeypatch.setenv("NNKIT_TRUST", "other, mine_here")
    assert resolve("mine_here.Own", "model").__name__ == "Own"
    assert canary.exists()


@pytest.mark.parametrize("broken", ["def", "import nowhere_at_all", "raise RuntimeError('no')", "1 / 0"])
def test_a_trusted_module_that_cannot_be_imported_is_said(broken, tmp_path, monkeypatch):
    (tmp_path / "mine_broken.py").write_text(broken)
    monkeypatch.setenv("NNKIT_TRUST", "mine_broken")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RefusedError, match="mine_broken"):
        resolve("mine_broken.Own", "model")


@pytest.mark.parametrize("value", ["..", "a.b", "a/b", "-x", "*", ",,", " "])
def test_trust_takes_names_of_packages_only(value, monkeypatch):
    monkeypatch.setenv("NNKIT_TRUST", value)
    with pytest.raises(RefusedError):
        resolve("os.system", "model")


def test_a_misspelt_class_gets_the_right_name():
    with pytest.raises(RefusedError) as refused:
        resolve("torch.optim.AdmW", "optimizer")
    assert refused.value.hint == "did you mean torch.optim.AdamW?"


CANARY = """
import pathlib
pathlib.Path("canary").touch()
from torch import nn
class Own(nn.Module):
    def __init__(self, **arguments): pathlib.Path("called").touch()
"""


@pytest.fixture(scope="module")
def shipped():
    """The default config, composed once."""
    return compose([]).config


def with_value(config, key, value):
    changed = config.copy()
    OmegaConf.update(changed, key, value, force_add=True)
    return changed


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """A module in the working directory and on the import path: leaves a file when imported or called."""
    (tmp_path / "evil.py").write_text(CANARY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("NNKIT_TRUST", raising=False)
    yield
    assert not (tmp_path / "canary").exists()
    assert not (tmp_path / "called").exists()
    assert "evil" not in sys.modules


NODES = [
    "model",
    "model.embeds.pictures",
    "head",
    "loss",
    "optimizer",
    "scheduler",
    "data",
    "task",
    "trainer",
    "callbacks.progress",
    "logger.tensorboard",
]


@pytest.mark.parametrize("key", NODES)
@pytest.mark.parametrize("path", ["evil.Own", "os.system", "nnkit.errors.evil.Own"])
def test_every_node_is_fenced(key, path, shipped, canary):
    config = with_value(shipped, f"{key}._target_", path)
    with pytest.raises(ConfigError, match=f"{key}._target_"):
        refuse_untrusted(config)
    node = config
    for name in key.split("."):
        node = node[name]
    group = "embeds" if "embeds" in key else key.split(".")[0]
    with pytest.raises(ConfigError):
        build(node, group)
    with pytest.raises(ConfigError):
        target_class(node, group)


@pytest.mark.parametrize(
    "key", ["_partial_", "_args_", "_recursive_", "_convert_", "_instantiator", "__class__"]
)
@pytest.mark.parametrize("node", ["optimizer", "model", "trainer"])
def test_keys_that_instantiate_obeys_are_refused(key, node, shipped, canary):
    config = with_value(shipped, f"{node}.{key}", True)
    with pytest.raises(ConfigError, match=key):
        build(config[node], node)


@pytest.mark.parametrize(
    "argument",
    [
        {"_target_": "evil.Own"},
        [{"_target_": "evil.Own"}],
        {"a": {"b": [{"_target_": "evil.Own"}]}},
        {"_partial_": True},
    ],
)
def test_a_class_hidden_in_an_argument_is_refused(argument, shipped, canary):
    config = with_value(shipped, "model.extra", argument)
    with pytest.raises(ConfigError, match=r"_target_|_partial_"):
        build(config.model, "model", dim_in=3)


def test_a_target_put_together_from_other_keys_is_refused(canary):
    config = compose(["name=evil.Own", "model._target_=${name}"]).config
    with pytest.raises(ConfigError, match="_target_"):
        refuse_untrusted(config)


def test_a_class_smuggled_in_through_a_reference_is_refused(canary):
    config = compose(["+data.extra={_target_:evil.Own}", "+model.extra=${data.extra}"]).config
    with pytest.raises(ConfigError, match=r"model.extra._target_"):
        build(config.model, "model", dim_in=3)


def test_a_saved_config_is_fenced_too(canary):
    text = compose([]).to_yaml().replace("torch.optim.AdamW", "evil.Own")
    with pytest.raises(ConfigError, match=r"optimizer._target_: evil.Own"):
        refuse_untrusted(from_yaml(text))


def test_all_that_is_refused_is_named_at_once(canary):
    config = compose(["model._target_=evil.Own", "loss._target_=os.system", "head._target_=3"]).config
    with pytest.raises(ConfigError) as error:
        refuse_untrusted(config)
    assert [p.key for p in error.value.problems] == ["model._target_", "head._target_", "loss._target_"]


def test_what_ships_passes():
    refuse_untrusted(compose([]).config)


def test_a_task_that_no_network_can_be_given_is_refused():
    # Importable everywhere, and a LightningModule; training it ended in an assertion.
    with pytest.raises(RefusedError, match="is no Task, which every task must be"):
        resolve("lightning.pytorch.demos.boring_classes.BoringModel", "task")


@pytest.mark.parametrize("group", sorted(set(BASES) - {"dataset"}))
def test_every_class_that_an_option_file_of_ours_names_is_one_of_its_group(group):
    paths = fence.shipped(group)
    assert paths
    for path in paths:
        home = resolve(path, group)
        assert path.endswith(f".{home.__name__}")


def test_a_class_of_ours_from_another_group_is_refused_all_the_same():
    embed = next(iter(fence.shipped("embeds") - fence.shipped("model")))
    assert embed.startswith("nnkit.embeds.")
    for key, path in {"data": embed, "optimizer": "nnkit.tasks.regression.Regression"}.items():
        config = compose([f"{key}._target_={path}"]).config
        with pytest.raises(ConfigError, match=f"{key}._target_"):
            refuse_untrusted(config)
