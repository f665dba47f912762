"""FAULTS classes 17 to 19: the config inside a checkpoint, and option files that are only listed, are data as well."""

import json
import sys
from itertools import cycle
from pathlib import Path

import pytest
from hostile_run import RESUME, cheaply

MARK = "lr: 0.003"
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
TEXTS = {
    "bomb": BOMB,
    "deep": "a: " + "[" * 100_000 + "]" * 100_000,
    "deep mapping": '{"a": ' * 300 + "1" + "}" * 300,
    "itself": "a: &a [*a]",
    "twice": "seed: 1\nseed: 2\n",
    "python": "a: !!python/object/apply:os.system ['touch canary']",
    "long number": "seed: " + "9" * 5000,
    "large": "a: " + "x" * 100_000_000,
    "no date": "a: 2026-99-99",
    "no text": "\x00\x01",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_bomb_inside_a_checkpoint_is_refused(hostile, refuses, text):
    state = hostile.state()
    state["nnkit"]["config"] = text
    hostile.put(state)
    with cheaply(num_bytes=600 << 20):
        refuses(RESUME, codes=(1, 2))
    # Where config.yaml is lost, it is brought back from the checkpoint.
    (hostile.path / "config.yaml").unlink()
    with cheaply(num_bytes=600 << 20):
        refuses(("doctor", "outputs/run", "--repair"), codes=(1, 2))
    assert not (hostile.path / "config.yaml").exists()
    assert not Path("canary").exists()


CHANGES = {
    "a foreign class": ("model._target_", lambda config: config["model"].update(_target_="evil.Boom")),
    "a function": ("optimizer._target_", lambda config: config["optimizer"].update(_target_="os.system")),
    "what instantiate obeys": ("_instantiator", lambda config: config.update(_instantiator="evil.Boom")),
    "settings of Hydra": (
        "hydra",
        lambda config: config.update(hydra={"callbacks": {"x": {"_target_": "evil.Boom"}}}),
    ),
    "another trust": ("NNKIT_TRUST", lambda config: config.update(NNKIT_TRUST="evil")),
}


@pytest.mark.parametrize(("key", "change"), CHANGES.values(), ids=CHANGES)
def test_a_config_inside_a_checkpoint_names_nothing_new(hostile, refuses, monkeypatch, key, change):
    Path("evil.py").write_text("open('canary', 'w')\nclass Boom: pass\n")
    monkeypatch.syspath_prepend(Path.cwd())
    state = hostile.state()
    config = json.loads(state["nnkit"]["config"])
    change(config)
    hostile.put({**state, "nnkit": {**state["nnkit"], "config": json.dumps(config)}})
    refuses(RESUME, key, codes=(2,))
    (hostile.path / "config.yaml").unlink()
    refuses(("doctor", "outputs/run", "--repair"), key, codes=(2,))
    assert not (hostile.path / "config.yaml").exists()
    assert not Path("canary").exists()
    assert "evil" not in sys.modules


REFERENCES = [
    "${oc.decode:'[1'}",
    "${oc.decode:${oc.env:EVIL}}",
    "${hydra:runtime.cwd}",
    "${oc.create:[1]}",
    "${nothing}",
]


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_reference_in_a_run_is_filled_in_or_refused(hostile, cli, monkeypatch, reference):
    """None of OmegaConf's own functions runs anything."""
    monkeypatch.setenv("EVIL", "!!python/object/apply:os.system ['touch canary']")
    hostile.edit(MARK, f'lr: "{reference}"')
    for words in (("test", "run"), RESUME, ("doctor", "run")):
        code, _, err = cli(*words)
        assert code in (0, 1, 2)
        assert "Traceback" not in err
    assert not Path("canary").exists()


# One function reads the files of all groups.
@pytest.mark.parametrize(("group", "text"), [*zip(cycle(["model", "data"]), TEXTS.values())], ids=TEXTS)
def test_an_option_file_that_is_only_listed_costs_nothing(cli, group, text):
    """An error says which options there would be, and reads them all for it."""
    path = Path("conf") / group / "bomb.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    wrong = {"model": ["model=lenet5", "data=iris"], "data": ["model=lenet5", "data=iris"]}[group]
    for words in (["list", group], ["train", *wrong], ["completion", "bash", "--", "train", f"{group}="]):
        with cheaply(num_bytes=600 << 20):
            code, _, err = cli(*words)
        assert code == (2 if words[0] == "train" else 0), err
        assert "Traceback" not in err
        assert len(err) < 3000
    assert not Path("canary").exists()
