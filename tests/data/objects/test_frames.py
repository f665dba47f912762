"""Data frames, arrays of a program and directories of Hugging Face: they train, test, resume exactly and predict."""

import json
from datetime import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from exactness import assert_same_end, cut

import nnkit
from nnkit.checkpoint.store import CheckpointStore
from nnkit.data.objects.frames import as_table, keep
from nnkit.data.tables.table import Table
from nnkit.errors import ConfigError, UserError
from nnkit.runs.fit import test as run_test

TINY = [
    "model.hidden=[4]",
    "trainer.max_epochs=2",
    "trainer.num_threads=1",
    "logger=[]",
    "callbacks=[checkpoint]",
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NNKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def frame(size=60):
    rng = np.random.default_rng(0)
    length = rng.normal(5, 2, size)
    colour = rng.choice(["red", "blue"], size)
    return pd.DataFrame({"length": length, "colour": colour, "kind": np.where(length > 5, "long", "short")})


def test_a_data_frame_trains_tests_resumes_exactly_and_predicts(folder):
    data = frame()
    words = [*TINY, "callbacks.checkpoint.every_n_steps=1", "data.batch_size=16", "name=whole"]
    result = nnkit.train(words, data=data)
    assert result.run.choices()["data"] == "table"
    assert run_test("whole", "outputs")["test/accuracy"] == pytest.approx(result.metrics["test/accuracy"])
    point = CheckpointStore(result.run.checkpoints).manifests()[0]
    cut(result.run, point, "cut")
    # The cache has been emptied; the program still has the frame.
    for file in (folder / "cache" / "frames").iterdir():
        file.unlink()
    with pytest.raises(UserError):
        nnkit.resume("cut")
    with pytest.raises(UserError, match="has changed since this run was prepared"):
        nnkit.resume("cut", data=frame(59))
    resumed = nnkit.resume("cut", data=pl.from_pandas(data))
    assert_same_end(result.run, resumed.run)
    found = nnkit.load("whole").predict(data.head(5))
    assert [one.item for one in found] == [f"data:{number}" for number in range(1, 6)]
    data.head(5).to_csv("rows.csv", index=False)
    by_file = nnkit.load("whole").predict(["rows.csv"])
    assert [one.top for one in found] == [one.top for one in by_file]


def test_a_composition_takes_data_too():
    composition = nnkit.compose(["data=table", "data.target=kind", *TINY])
    result = nnkit.train(composition, data=frame())
    assert composition.config.data.path is None
    assert result.session.data.preprocessing["class_names"] == ["long", "short"]


def test_arrays_of_a_program_train_and_predict():
    rng = np.random.default_rng(0)
    arrays = {"x": rng.normal(size=(60, 3, 8, 8)), "y": np.arange(60) % 3}
    result = nnkit.train(["data=arrays", "data.kind=pictures", "name=a", "model=mlp", *TINY], data=arrays)
    assert result.session.data.facts()["in_channels"] == 3
    found = nnkit.load("a").predict({"x": arrays["x"][:2]})
    assert [one.item for one in found] == ["data:1", "data:2"]


def test_frames_of_every_library_are_one_file():
    data = frame()
    data["colour"] = data["colour"].astype("category")
    expected = keep(data, as_arrays=False)
    others = [
        pl.from_pandas(data),
        pa.Table.from_pandas(data),
        {name: data[name].to_numpy() for name in data},
    ]
    assert {keep(other, as_arrays=False) for other in others} == {expected}
    assert pq.read_table(expected).to_pydict() == {name: data[name].tolist() for name in data}


def test_columns_of_a_frame_are_what_the_program_declares():
    size = 60
    data = pd.DataFrame(
        {
            "ward": pd.Categorical([f"0{row % 3}" for row in range(size)]),
            "grade": pd.Categorical([row % 4 for row in range(size)]),
            "range": pd.cut(pd.Series([row % 5 for row in range(size)]), [-1, 2, 5]),
            "stay": pd.to_timedelta([row % 7 for row in range(size)], unit="h"),
            "month": pd.period_range("2020-01", periods=size, freq="M"),
            "y": ["no", "yes"] * (size // 2),
        }
    )
    table = Table(path=str(keep(data, as_arrays=False)), target="y", test_fraction=0.0)
    table.setup_data()
    specs = {spec["name"]: spec for spec in table.preprocessing["columns"]}
    assert specs["ward"]["categories"] == ["00", "01", "02"]
    assert specs["grade"]["categories"] == ["0", "1", "2", "3"]
    assert specs["range"]["categories"] == ['{"left": -1, "right": 2}', '{"left": 2, "right": 5}']
    assert specs["stay"]["mean"] == pytest.approx(3600 * np.mean([row % 7 for row in range(size)]))
    assert specs["month"]["kind"] == "date"
    assert as_table(data.set_index("month")[["y"]]).column("month")[13].as_py() == datetime(2021, 2, 1)


def test_an_index_of_pandas_is_a_column_if_it_says_something():
    data = pd.DataFrame({"a": [1.0, 2.0]})
    assert as_table(data.iloc[::-1]).column_names == ["a"]
    assert as_table(data.rename_axis("who")).column_names == ["who", "a"]
    data.index = pd.date_range("2024-01-01", periods=2)
    assert as_table(data).column_names == ["index", "a"]


@pytest.mark.parametrize(
    ("data", "as_arrays", "words"),
    [
        ([1, 2], False, "data must be a pandas or polars data frame"),
        (pd.DataFrame({"a": [1, "b", [2]]}), False, "the data cannot be made a table: .*column a"),
        (pd.DataFrame({"a": []}), False, "the data have no rows"),
        ({"a": np.zeros((2, 2))}, False, "cannot be made a table"),
        (pd.DataFrame({"a": [1]}), True, "arrays are given as a dict"),
        ({"x": np.array([object()])}, True, "array 'x' holds Python objects"),
    ],
)
def test_other_data_are_refused(data, as_arrays, words):
    with pytest.raises(UserError, match=words):
        keep(data, as_arrays=as_arrays)


def test_data_are_given_once():
    with pytest.raises(ConfigError, match=r"the data were given, and data.path=a.csv names others"):
        nnkit.train(["data.path=a.csv"], data=frame())


def save_to_disk(table, folder):
    """Write what `datasets.Dataset.save_to_disk` writes."""
    folder.mkdir(parents=True)
    name = "data-00000-of-00001.arrow"
    with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=20)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}], "_split": None}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}, "splits": {}}))


def test_a_hugging_face_directory_trains_tests_resumes_exactly_and_predicts(folder):
    table = pa.Table.from_pandas(frame(), preserve_index=False)
    save_to_disk(table.slice(0, 45), folder / "saved" / "train")
    save_to_disk(table.slice(45), folder / "saved" / "test")
    (folder / "saved" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    words = [
        "data=table",
        "data.path=saved",
        "data.target=kind",
        "callbacks.checkpoint.every_n_steps=1",
        *TINY,
    ]
    result = nnkit.train([*words, "name=whole"])
    assert result.session.data.preprocessing["counts"] == {"train": 45, "val": 0, "test": 15}
    truth = [str(kind) for kind in table.column("kind").slice(45)]
    found = nnkit.load("whole").predict(["saved/test"])
    assert result.metrics["test/accuracy"] == pytest.approx(
        np.mean([one.label == kind for one, kind in zip(found, truth, strict=True)])
    )
    assert run_test("whole", "outputs")["test/accuracy"] == pytest.approx(result.metrics["test/accuracy"])
    cut(result.run, CheckpointStore(result.run.checkpoints).manifests()[1], "cut")
    assert_same_end(result.run, nnkit.resume("cut").run)


def test_a_hugging_face_directory_of_texts_is_read_as_texts(folder):
    texts = [f"the {colour} house number {number}" for number in range(20) for colour in ("red", "blue")]
    table = pa.table({"text": texts, "label": [number % 2 for number in range(40)]})
    save_to_disk(table, folder / "saved")
    words = ["data=text_csv", "data.path=saved", "trainer.max_epochs=1", "model.dim=8", *TINY[2:]]
    data = nnkit.train(words).session.data
    assert data.preprocessing["columns"] == {"text": "text", "target": "label"}
    assert torch.bincount(data.split("train").targets()).tolist() == [16, 16]
