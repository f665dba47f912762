"""FAULTS classes 18, 19 and 20: configs from elsewhere name known classes only, cost nothing and leak nothing."""

import shutil
import sys
import time
from itertools import cycle
from pathlib import Path

import pytest

import nnkit
from nnkit.runs.run import Run

QUICK = ["data=iris", "model=mlp", "model.hidden=[4]", "trainer.max_epochs=1", "trainer.num_threads=1"]
TARGETS = [
    "os.system",
    "torch.load",
    "torch.nn.init.torch.load",
    "torch.nn.modules.module.torch.hub.load",
    "builtins.open",
    "builtins.eval",
    "subprocess.Popen",
    "nnkit.cli.os.system",
    "nnkit.data.download.fetch.subprocess.run",
    "lightning.pytorch.utilities.model_helpers.inspect.os.system",
    "importlib.import_module",
    "evil.Boom",
    "torch.nn.__builtins__.open",
    "../evil",
    "${oc.env:EVIL}",
]


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """Lay a trap: a module in the working directory that tells when it is imported, and a file nobody may make."""
    trap = tmp_path / "sprung"
    (tmp_path / "evil.py").write_text(f"open({str(trap)!r}, 'w')\nclass Boom: pass\n")
    monkeypatch.setenv("EVIL", "os.system")
    return trap


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return a finished run, made once."""
    return nnkit.train([*QUICK, "name=run", f"output_dir={tmp_path_factory.mktemp('finished')}"]).run.path


@pytest.fixture
def run(finished, tmp_path):
    """Return a copy of it as outputs/run."""
    return Run(shutil.copytree(finished, tmp_path / "outputs" / "run"))


def assert_refused(
    cli, words, canary, said=("outside the packages", "is not the dotted path", "does not exist")
):
    start = time.monotonic()
    code, _, err = cli(*words)
    assert code == 2, err
    assert "Traceback" not in err
    assert any(text in err for text in said), err
    assert not canary.exists()
    assert "evil" not in sys.modules
    assert not Path("outputs/new").exists()
    return time.monotonic() - start


@pytest.mark.parametrize("target", TARGETS)
def test_a_run_from_elsewhere_names_no_other_callable(cli, canary, run, target):
    path = run.path / "config.yaml"
    path.write_text(
        path.read_text().replace("nnkit.models.mlp.MLP", f"{target!r}" if "$" in target else target)
    )
    for verb in ("test", "resume", "predict"):
        assert_refused(cli, [verb, "run", *(["x.csv"] if verb == "predict" else [])], canary)
    assert cli("resume", "run", "--verify")[0] == 2
    assert cli("doctor", "run")[0] == 1
    assert not canary.exists()


NAMED = [
    *(("model", target) for target in TARGETS),
    *((group, "os.system") for group in ("callbacks", "loss", "logger", "metrics", "optimizer", "head")),
]


# Files of both folders are read by one class.
@pytest.mark.parametrize(
    ("folder", "group", "target"),
    [(folder, *named) for folder, named in zip(cycle(["conf", "more"]), NAMED, strict=False)],
)
def test_an_option_file_names_no_other_callable(cli, canary, folder, group, target):
    text = f"_target_: {target!r}\ncommand: touch {canary}\nargs: [touch {canary}]\n"
    is_list = group in ("callbacks", "logger", "metrics")
    if is_list:
        text = f"x:\n  {text.replace(chr(10), chr(10) + '  ')}"
    elif group == "model":
        text += "embeds:\n  table: {_target_: nnkit.embeds.flat.Flat, shape: [4]}\n"
    option = Path(folder) / group / "evil.yaml"
    option.parent.mkdir(parents=True)
    option.write_text(text)
    flags = ["--config-dir", "more"] if folder == "more" else []
    chosen = f"{group}=[evil]" if is_list else f"{group}=evil"
    assert_refused(cli, ["train", *QUICK[:1], chosen, "name=new", *flags], canary)


@pytest.mark.parametrize(
    "text",
    [
        "hydra:\n  callbacks:\n    x: {_target_: os.system, command: touch sprung}\n",
        "defaults:\n  - override /hydra/launcher: joblib\n",
        "# @package hydra.callbacks\nx: {_target_: os.system}\n",
    ],
)
def test_an_option_file_does_not_set_up_hydra(cli, canary, text):
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/evil.yaml").write_text(text)
    for flags in ([], ["-m", "seed=1,2"], ["--cfg", "job"], ["--cfg", "hydra"]):
        assert_refused(cli, ["train", *flags, "experiment=evil"], canary, ["cannot set up Hydra"])


@pytest.mark.parametrize("key", ["_target_", "_args_", "_partial_", "_convert_", "_recursive_"])
def test_what_hydra_would_obey_inside_an_argument_is_refused(cli, canary, key):
    words = [
        "train",
        *QUICK,
        f"+optimizer.{key if key != '_target_' else 'x'}={{_target_:os.system,a:1}}",
        "name=new",
    ]
    assert_refused(cli, words, canary, ["underscore", "takes no such argument"])


BOMBS = {
    "aliases": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)),
    "depth": "a: " + "[" * 300 + "]" * 300,
    "size": "a: '" + "x" * 100_000_000 + "'",
    "itself": "a: &a [*a]",
    "twice": "seed: 1\nseed: 2",
    "python tag": "a: !!python/object/apply:os.system ['touch sprung']",
    "not text": "\x00\x01",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_within_a_second(cli, canary, run, bomb):
    nnkit.compose(["data=iris"])
    Path("conf/experiment").mkdir(parents=True)
    for path in (run.path / "config.yaml", Path("conf/experiment/bomb.yaml")):
        path.write_text(BOMBS[bomb])
    for words in (["test", "run"], ["resume", "run"], ["train", "experiment=bomb", "name=new"]):
        start = time.monotonic()
        code, _, err = cli(*words)
        assert code == 2, (words, err[:300])
        # Obeyed, the worst of them takes minutes; a busy machine may take its time.
        assert time.monotonic() - start < 10
        assert "Traceback" not in err
        assert len(err) < 2000
    assert not canary.exists()
    assert not Path("sprung").exists()


def test_a_secret_in_the_environment_reaches_no_file(cli, monkeypatch):
    secret = "hunter2-do-not-tell"
    monkeypatch.setenv("NNKIT_SECRET", secret)
    words = [
        "logger.tensorboard.prefix=${oc.env:NNKIT_SECRET}",
        "callbacks=[checkpoint,pictures]",
        "name=run",
    ]
    code, out, err = cli("train", *QUICK, "data.val_fraction=0.2", *words)
    assert code == 0, err
    assert secret not in out + err
    config = Path("outputs/run/config.yaml").read_text()
    assert "${oc.env:NNKIT_SECRET}" in config
    # TensorBoard was told to begin each name with it; everything else must not have it.
    leaks = [
        path for path in Path("outputs").rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
    ]
    assert [path for path in leaks if "tensorboard" not in path.parts] == []


def test_a_config_cannot_trust_itself(cli, canary):
    for key in ("NNKIT_TRUST", "trust", "hydra.job.env_set.NNKIT_TRUST"):
        code, _, err = cli("train", *QUICK, f"+{key}=evil", "model._target_=evil.Boom", "name=new")
        assert code == 2
        assert "Traceback" not in err
    assert not canary.exists()
