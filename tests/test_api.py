"""nnkit from Python: docs/library.md is executed, and importing the package costs nothing."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import nnkit
from nnkit.errors import ConfigError, UserError
from nnkit.inference.prediction import Unreadable
from nnkit.tasks.predictions import Estimate, Ranking

DOCUMENT = Path(__file__).parent.parent / "docs" / "library.md"
SMALL = [
    "data=digits",
    "model=mlp",
    "model.hidden=[16]",
    "trainer.max_epochs=2",
    "logger=[]",
    "callbacks=[checkpoint]",
]


def save_digit(path, number):
    pixels = load_digits().images[number]
    Image.fromarray((pixels * 255 / 16).round().astype(np.uint8)).save(path)


def test_the_documents_examples_run_top_to_bottom(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("NNKIT_CACHE", str(tmp_path / "cache"))
    save_digit("seven.png", 7)
    namespace = {}
    for block in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, namespace)
    printed = capsys.readouterr().out.splitlines()
    assert Path(printed[1]) == Path("outputs/first")
    assert printed[3] == "long"
    assert printed[4:7] == ["adamw", "0.003", "command line"]
    assert "'key': 'trainer.max_epochs', 'old': 1, 'new': 2" in printed[9]
    assert float(printed[0]) == float(printed[10]) > 0.85
    assert printed[11].split()[0] == "7"
    assert printed[14:16] == ["hidden 1: 300 (unit)", "(300,) ('unit',)"]
    assert Path("activations.png").read_bytes().startswith(b"\x89PNG")
    assert "there is no model=lenet" in printed[-2]
    assert "trainer.max_epochs" in printed[-1]
    assert namespace["composition"].config.data.num_classes == 10


def test_importing_the_package_imports_nothing_heavy():
    code = "import nnkit, sys; print(sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("torch", "lightning", "hydra", "omegaconf", "numpy", "yaml", "rich"):
        assert f"'{heavy}'" not in loaded


def test_what_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="fit_transform"):
        _ = nnkit.fit_transform
    assert {"compose", "train", "resume", "load"} <= set(dir(nnkit))


def test_training_leaves_a_composition_as_it_was_and_repeats_itself():
    composition = nnkit.compose([*SMALL, "seed=4"])
    before = composition.to_yaml()
    first, second = nnkit.train(composition), nnkit.train(composition)
    assert composition.to_yaml() == before
    assert first.metrics == second.metrics
    assert first.run.path != second.run.path


def test_a_loaded_run_has_the_weights_of_its_best_checkpoint():
    result = nnkit.train([*SMALL, "name=mine"])
    loaded = nnkit.load("mine")
    for name, tensor in result.session.task.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor)
    assert not loaded.network.training
    assert loaded.metrics == json.loads(Path("outputs/mine/run.json").read_text())["metrics"]
    again = nnkit.load(result.run)
    assert again.run.path == loaded.run.path


def test_predictions_are_the_softmax_of_the_network_on_the_normalised_picture():
    loaded = nnkit.load(nnkit.train(SMALL).run)
    save_digit("digit.png", 3)
    (answer,) = loaded.predict([Path("digit.png")], top_k=10)
    pixels = torch.from_numpy(np.asarray(Image.open("digit.png"))).float()[None, None] / 255
    learnt = loaded.data.preprocessing
    with torch.inference_mode():
        expected = loaded.network((pixels - learnt["mean"][0]) / learnt["std"][0]).softmax(-1)[0]
    assert isinstance(answer, Ranking)
    assert {label: pytest.approx(share, abs=1e-5) for label, share in answer.top} == {
        str(number): share for number, share in enumerate(expected.tolist())
    }
    shares = [share for _, share in answer.top]
    assert shares == sorted(shares, reverse=True)


def test_a_regression_answers_in_the_users_units():
    Path("rows.csv").write_text("x,price\n" + "".join(f"{x},{1000 + 50 * x}\n" for x in range(100)))
    words = [
        "data=csv",
        "data.path=rows.csv",
        "task=regression",
        "trainer.max_epochs=25",
        "optimizer.lr=0.05",
    ]
    loaded = nnkit.load(nnkit.train([*words, "logger=[]", "callbacks=[checkpoint]"]).run)
    Path("new.csv").write_text("x\n10\nnonsense\n60\n")
    ten, bad, sixty = loaded.predict(["new.csv"])
    assert isinstance(ten, Estimate)
    assert ten.values["price"] == pytest.approx(1500, rel=0.1)
    assert sixty.values["price"] == pytest.approx(4000, rel=0.1)
    assert isinstance(bad, Unreadable)
    assert "nonsense" in bad.reason


def test_mistakes_are_raised_and_nothing_is_written():
    with pytest.raises(ConfigError) as error:
        nnkit.train(["model=lenet", "seed=-1"])
    assert {problem.key for problem in error.value.problems} == {"model", "seed"}
    with pytest.raises(UserError, match="no run 'nope'"):
        nnkit.load("nope")
    assert not Path("outputs").exists()
    with pytest.raises(ValueError, match="top_k must be at least 1"):
        nnkit.load(nnkit.train(SMALL).run).predict([], top_k=0)
