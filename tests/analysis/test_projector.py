"""Vectors for TensorBoard's projector, as TensorBoard's own plugin reads and serves them."""

import json
from types import SimpleNamespace
from urllib.parse import quote

import numpy as np
import pytest
import samples
import torch
from inspected import in_folder
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
from werkzeug.test import Client
from werkzeug.wrappers import Response

from nnkit.analysis.inspection.projector import Points, projector_files
from nnkit.errors import UserError
from nnkit.ui.board import check_events


class Served:
    """TensorBoard's projector on a folder without runs."""

    def __init__(self, folder):
        nothing = SimpleNamespace(list_runs=lambda context, experiment_id: [])
        plugin = ProjectorPlugin(SimpleNamespace(data_provider=nothing, logdir=str(folder)))
        self.apps = plugin.get_plugin_apps()

    def ask(self, what, **words):
        query = "&".join(f"{key}={quote(value)}" for key, value in {"run": ".", **words}.items())
        response = Client(self.apps[f"/{what}"], Response).get(f"/{what}?{query}")
        assert response.status_code == 200, response.data
        return response.data

    def shapes(self):
        found = json.loads(self.ask("info"))["embeddings"]
        return {one["tensorName"]: tuple(one["tensorShape"]) for one in found}

    def vectors(self, name):
        return np.frombuffer(self.ask("tensor", name=name), dtype=np.float32)

    def lines(self, name):
        return self.ask("metadata", name=name).decode().split("\n")[:-1]


def write(folder, points):
    folder.mkdir(exist_ok=True)
    for name, content in projector_files(points):
        (folder / name).write_bytes(content)
    return Served(folder)


def test_tokens_of_a_language_model(monkeypatch, tmp_path):
    run = in_folder("gpt", monkeypatch)
    found = run.inspect(vectors=True)
    served = write(tmp_path / "projector", found.points)
    weights = run.network.embed.token_vectors.detach().numpy()
    assert served.shapes() == {"tokens": weights.shape}
    np.testing.assert_allclose(served.vectors("tokens"), weights.flatten(), rtol=1e-6)
    assert served.lines("tokens") == run.data.token_texts(range(len(weights)))
    assert run.inspect().points == []


def test_samples_of_a_classifier_with_their_answers(monkeypatch, tmp_path):
    run = in_folder("lenet5", monkeypatch)
    served = write(tmp_path / "projector", run.inspect(vectors=True).points)
    batches = list(run.data.val_dataloader())
    inputs, target = (torch.cat([batch[place] for batch in batches]) for place in (0, 1))
    with torch.no_grad():
        features = run.network.body(run.network.embed(inputs))
        answers = run.network(inputs).argmax(1)
    assert served.shapes() == {"samples": (len(inputs), features.shape[1])}
    np.testing.assert_allclose(
        served.vectors("samples").reshape(len(inputs), -1), features.numpy(), rtol=1e-4, atol=1e-5
    )
    header, *rows = [line.split("\t") for line in served.lines("samples")]
    assert header == ["sample", "answer", "true"]
    assert [row[1:] for row in rows] == [
        [str(int(said)), str(int(true))] for said, true in zip(answers, target, strict=True)
    ]


def test_names_never_break_a_line_and_none_is_passed_over(tmp_path):
    names = ["a", "", "b\tc", "d\ne", "\u6708", "\x1b[31m", "f\rg", "\u2028"]
    points = [Points("tokens", np.eye(8), ["token"], [[name] for name in names])]
    served = write(tmp_path, points)
    lines = served.lines("tokens")
    assert lines == ["a", " ", "b\\tc", "d\\ne", "\u6708", "\\x1b[31m", "f\\rg", "\\u2028"]
    assert served.vectors("tokens").reshape(8, 8).tolist() == np.eye(8).tolist()


def test_board_takes_a_folder_of_the_projector(tmp_path):
    with pytest.raises(UserError, match="holds nothing that TensorBoard shows"):
        check_events(tmp_path)
    write(tmp_path / "projector", [Points("tokens", np.eye(2), ["token"], [["a"], ["b"]])])
    check_events(tmp_path)


def test_a_network_without_vectors_is_a_sentence(monkeypatch, tmp_path):
    run = in_folder("forecast", monkeypatch)
    monkeypatch.setattr(type(run.data), "split", lambda self, split: [])
    with pytest.raises(UserError, match="--projector: there are no vectors: the data have no samples"):
        run.inspect(samples.item("series"), vectors=True)
