"""Directories of Hugging Face that are exported are run by `transformers`, whatever the network reads."""

from types import SimpleNamespace

import pytest

import nnkit
from nnkit.errors import UserError
from nnkit.export import hugging_face
from nnkit.factory import build_network

pytest.importorskip("transformers", reason="transformers is not installed")


class Gone:
    """Data that cannot be had any more."""

    preprocessing = {}  # noqa: RUF012

    def split(self, name):
        raise UserError("the file is gone")


@pytest.mark.parametrize(
    "words",
    [["model=gpt", "data=shakespeare"], ["model=bert_tiny", "data=pydocs_pairs"]],
    ids=["gpt", "masked_bert"],
)
def test_models_of_texts_are_compared_with_transformers(words, tmp_path):
    config = nnkit.compose([*words, "model.dim=8", "model.num_heads=2", "model.num_layers=1"]).config
    config.data.vocab_size = 30
    session = SimpleNamespace(
        config=config, data=Gone(), task=SimpleNamespace(network=build_network(config).eval())
    )
    facts, _ = hugging_face.write(tmp_path / "made", session)
    apart, _, how = facts["largest difference"].partition(", ")
    assert float(apart) < 1e-5
    assert how.startswith("transformers and the run, 4 random samples")
    assert {path.name for path in (tmp_path / "made").iterdir()} == {"config.json", "model.safetensors"}
