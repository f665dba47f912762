"""`nnkit schema`: printed, written, and the line for editors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nnkit.config import catalog, compose
from nnkit.config.explanation import explain
from nnkit.config.schema import schema


def test_it_is_printed(cli):
    code, out, _ = cli("schema")
    assert code == 0
    assert json.loads(out) == schema()
    assert json.loads(cli("schema", "model")[1])["$ref"] == "#/$defs/model"


def test_it_is_written_and_the_line_leads_there_from_a_file(cli):
    Path("conf/model").mkdir(parents=True)
    code, out, _ = cli("schema", "--out", "conf/schema.json", "--header")
    assert (code, out) == (0, "# yaml-language-server: $schema=../schema.json\n")
    assert json.loads(Path("conf/schema.json").read_text()) == schema()
    place = Path("conf/model") / out.strip().partition("$schema=")[2]
    assert place.resolve() == Path("conf/schema.json").resolve()


def test_the_line_is_printed_alone(cli):
    assert cli("schema", "--header")[1] == "# yaml-language-server: $schema=../schema.json\n"
    assert not Path("conf").exists()
    Path("sub").mkdir()
    assert cli("schema", "--out", "sub/s.json", "--header")[1].endswith("$schema=../../sub/s.json\n")


def test_a_file_with_the_line_is_an_option_as_before(cli):
    line = cli("schema", "--header")[1]
    for name in ("model/mlp", "experiment/lenet5_mnist"):
        path = Path("conf") / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        text = (catalog.conf_dir() / f"{name}.yaml").read_text()
        # Hydra reads `# @package` on top alone.
        head = text[: text.index("\n") + 1] if text.startswith("# @package") else ""
        path.write_text(head + line + text.removeprefix(head))
    assert catalog.describe("model", "mlp").startswith("Multilayer perceptron")
    assert compose(["model=mlp"]).config.model.hidden == [300, 100]
    assert catalog.describe("experiment", "lenet5_mnist").startswith("LeNet-5 on MNIST")
    assert compose(["experiment=lenet5_mnist"]).config.optimizer.lr == 8e-3
    assert explain(["model=mlp"], "model.hidden").settings[-1].place == "./conf/model/mlp.yaml:5"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["modle"], "did you mean model?"),
        (["--out", "none/schema.json"], "mkdir -p none"),
        (["--out"], "--out needs a value"),
    ],
)
def test_what_is_wrong_is_answered(cli, words, said):
    code, out, err = cli("schema", *words)
    assert (code, out) == (2, "")
    assert said in err


def test_it_needs_neither_torch_nor_hydra():
    code = (
        "import sys; from nnkit.cli import main; main(['schema']);"
        "sys.exit(bool({'torch', 'hydra', 'omegaconf'} & {*sys.modules}))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0
