"""`nnkit explain`: what is printed, and what is refused."""

import json
from pathlib import Path

import pytest

from nnkit.cli.verbs.completion import candidates
from nnkit.config import compose


def test_a_value(cli):
    code, out, err = cli("explain", "optimizer.lr")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "optimizer.lr = 0.003"
    found = {line[:12].strip(): line[13:].strip() for line in out.splitlines()[1:]}
    assert found == {
        "means": "learning rate",
        "takes": "a number; at least 0",
        "set by": "conf/optimizer/adamw.yaml:4  0.003",
        "to change": "nnkit train optimizer.lr=0.003",
    }


def test_a_group_lists_its_options(cli):
    code, out, _ = cli("explain", "model", "model=mlp")
    assert code == 0
    assert out.startswith("model = mlp\n")
    assert "command line" in out and "model=mlp" in out
    for line in cli("list", "model")[1].splitlines():
        name, about = line.split("\t")[:2]
        assert any(name in row and about in row for row in out.splitlines()), name


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["optimzer.lr"], "did you mean optimizer.lr?"),
        (["optimizer.lrr"], "did you mean optimizer.lr?"),
        (["modle"], "did you mean model?"),
        (["lr"], "did you mean optimizer.lr?"),
        (["model.num_heads"], "nnkit explain model.num_heads model=bert"),
        (["callbacks.ema.decay"], "nnkit explain callbacks.ema.decay +callbacks=ema"),
        (["optimizer.lr=0.1"], "nnkit explain optimizer.lr optimizer.lr=0.1"),
        (["optimizer.lr", "modle=mlp"], "model"),
        (["zzz"], "there is: "),
        ([], "explain needs KEY"),
        (["optimizer.lr", "seed=1", "--run", "last"], "--run takes no seed=1"),
        (["optimizer.lr", "--run", "last"], "there are no runs"),
    ],
)
def test_what_is_wrong_is_answered_with_what_to_type(cli, words, hint):
    code, out, err = cli("explain", *words)
    assert (code, out) == (2, "")
    assert hint in err
    assert not [*Path.cwd().iterdir()]


def saved_run(*words, **record):
    """Make the directory of a run that was started with some words."""
    composition = compose(list(words))
    run = Path("outputs/first")
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(composition.to_yaml(), encoding="utf-8")
    known = {"overrides": list(words), "choices": composition.choices, **record}
    (run / "run.json").write_text(json.dumps(known), encoding="utf-8")
    return run


def test_a_key_of_a_run(cli):
    changes = [{"key": "trainer.max_epochs", "old": 3, "new": 9}]
    run = saved_run("model=mlp", "trainer.max_epochs=3", resumed=[{"time": "2026-01-01", "changes": changes}])
    text = (run / "config.yaml").read_text().replace("max_epochs: 3\n", "max_epochs: 9\n")
    (run / "config.yaml").write_text(text)
    line = text.splitlines().index("  max_epochs: 9") + 1
    code, out, _ = cli("explain", "trainer.max_epochs", "--run", "first")
    assert code == 0
    assert out.startswith("trainer.max_epochs = 9\n")
    places = [" ".join(row[13:].split()) for row in out.splitlines()]
    assert any(row.startswith("command line trainer.max_epochs=3") for row in places)
    assert any(row.startswith("resumed 2026-01-01 9") for row in places)
    assert any(row.startswith(f"outputs/first/config.yaml:{line} 9") for row in places)
    assert cli("explain", "model", "--run", "last")[1].startswith("model = mlp\n")


def test_a_run_whose_options_are_gone_is_explained_by_what_it_saved(cli):
    saved_run("model=mlp", overrides=["model=gone"])
    code, out, _ = cli("explain", "model.hidden", "--run", "first")
    assert code == 0
    assert out.startswith("model.hidden = [300,100]\n")
    assert "outputs/first/config.yaml:" in out


def test_keys_are_completed():
    words = [candidate.word for candidate in candidates(["explain", "optimizer.w"])]
    assert words == ["optimizer.weight_decay"]
    assert "model" in [candidate.word for candidate in candidates(["explain", "mod"])]
    assert [one.word for one in candidates(["explain", "optimizer.lr", "model=lenet5_"])] == [
        "model=lenet5_1998"
    ]
