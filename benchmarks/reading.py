"""Tables: read beside pandas and pyarrow, trained on where they are larger than memory should be, and predicted.

Each turn is a process of its own. pandas is no dependency of nnkit; where it is not installed its line says so.
"""

import tempfile
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from lines import Group, Limit, Line, Setting
from measuring import Cost, program

import nnkit

_NNKIT = """
from nnkit.data.tables.table import Table
def work():
    data = Table(path=sys.argv[1], target="y")
    data.setup_data()
"""


def write_csv(path: Path, num_rows: int) -> None:
    """Write 20 mixed columns."""
    random = np.random.default_rng(0)
    columns: dict[str, object] = {
        f"f{place}": random.normal(size=num_rows).round(3) * 100 for place in range(8)
    }
    columns |= {f"i{place}": random.integers(0, 1000, num_rows) for place in range(5)}
    for place in range(4):
        names = np.array([f"cat{number}" for number in range(5 * place + 5)])
        columns[f"c{place}"] = names[random.integers(0, len(names), num_rows)]
    days = random.integers(0, 2000, num_rows).astype("timedelta64[D]")
    columns["when"] = np.datetime64("2020-01-01") + days
    columns["gap"] = pa.array(random.normal(size=num_rows).round(2), mask=random.random(num_rows) < 0.1)
    columns["y"] = np.array(["no", "yes"])[(columns["f0"] > 0).astype(int)]
    pa_csv.write_csv(pa.table(columns), path)


def prepare(path: Path, cache: Path | None = None) -> Cost:
    """Prepare a table in a process of its own, with this cache or an empty one."""
    with tempfile.TemporaryDirectory() as empty:
        environment = {"NNKIT_CACHE": str(cache or empty)}
        return program("work()", str(path), imports=_NNKIT, environment=environment)


def readers(path: Path, cache: Path) -> Group:
    """Return pyarrow, pandas and nnkit reading the same CSV; the cache is filled for the second start."""
    prepare(path, cache)
    pandas = partial(program, "pandas.read_csv(sys.argv[1])", str(path), imports="import pandas")
    arrow = partial(program, "pyarrow.csv.read_csv(sys.argv[1])", str(path), imports="import pyarrow.csv")
    cases = {
        "pyarrow.csv.read_csv": arrow,
        "pandas.read_csv": pandas if find_spec("pandas") else None,
        "data=table, first start": partial(prepare, path),
        "data=table, second start": partial(prepare, path, cache),
    }
    return Group(cases)


def reading(setting: Setting) -> Iterator[Line]:
    """Yield what reading a CSV of 20 mixed columns takes."""
    path = setting.folder / "large.csv"
    write_csv(path, setting.size(2_000_000, 2_000))
    yield from readers(path, setting.folder / "cache").measure(setting)


def write_parquet(path: Path, gigabytes: float) -> None:
    """Write a file of at least this size with 16 columns of numbers and 2 of categories."""
    random = np.random.default_rng(0)
    rows_in_group = int(min(500_000, gigabytes * 8e6))
    names = [f"x{place}" for place in range(16)]
    kinds = np.array(["red", "green", "blue"])
    writer = None
    while writer is None or path.stat().st_size < gigabytes * 1e9:
        columns: dict[str, object] = {name: random.normal(size=rows_in_group) for name in names}
        columns["kind"] = kinds[random.integers(0, 3, rows_in_group)]
        columns["y"] = np.where(np.asarray(columns["x0"]) > 0, "yes", "no")
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(
            path, table.schema, compression="none", use_dictionary=["kind", "y"]
        )
        writer.write_table(table)
    writer.close()


_TRAIN = """
import nnkit
nnkit.train(["data=table", f"data.path={sys.argv[1]}", "data.target=y", "data.batch_size=256", "trainer.max_steps=200",
             "logger=[]", f"output_dir={sys.argv[2]}", "trainer.num_threads=1"])
"""


def training(setting: Setting) -> Iterator[Line]:
    """Yield 200 steps on small and on large Parquet files; the mapped pages of a file count in the peak."""
    few, many = setting.folder / "small.parquet", setting.folder / "large.parquet"
    write_parquet(few, setting.size(200, 1) / 1e3)
    write_parquet(many, setting.size(2000, 2) / 1e3)
    cases = {
        f"{path.stat().st_size / 1e9:.2g} GB of Parquet": partial(
            program, _TRAIN, str(path), str(setting.folder)
        )
        for path in (few, many)
    }
    yield from Group(cases, noise=False).measure(setting)


_PANDAS = """
import pandas, torch, nnkit
run = nnkit.load(sys.argv[2], output_dir=sys.argv[3])
columns = run.data.preprocessing["columns"]
numbers = [one for one in columns if one["kind"] == "number"]
categories = [one for one in columns if one["kind"] == "category"]
network = run.task.network.eval()
names = run.task.class_names
def work():
    frame = pandas.read_csv(sys.argv[1])
    features = [(frame[one["name"]].to_numpy() - one["mean"]) / one["std"] for one in numbers]
    hot = [frame[one["name"]].to_numpy() == name for one in categories for name in one["categories"]]
    inputs = torch.tensor(__import__("numpy").stack([*features, *hot], axis=1).astype("float32"))
    with torch.inference_mode(), open(sys.argv[4], "w") as file:
        for part in inputs.split(4096):
            shares, classes = network(part).softmax(-1).topk(2, dim=-1)
            for share, number in zip(shares.tolist(), classes.tolist()):
                file.write(json.dumps({"label": names[number[0]], "probability": share[0]}) + "\\n")
"""
_PREDICT = """
import nnkit
from nnkit.cli import main
nnkit.load(sys.argv[2], output_dir=sys.argv[3])
def work():
    sys.argv = ["nnkit", "predict", sys.argv[2], sys.argv[1], "--output-dir", sys.argv[3], "--output", sys.argv[4]]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
"""


def predicting(setting: Setting) -> Iterator[Line]:
    """Yield predictions of a table of 10 numbers and 4 categories, beside pandas with the same network and json.

    Both count from where all is imported and the run is loaded once; nnkit opens it again.
    """
    folder, random, num_rows = setting.folder, np.random.default_rng(1), setting.size(500_000, 2_000)
    columns: dict[str, object] = {f"x{place}": random.normal(size=num_rows).round(4) for place in range(10)}
    for place in range(4):
        columns[f"c{place}"] = np.array(["a", "b", "c"])[random.integers(0, 3, num_rows)]
    columns["y"] = np.where(np.asarray(columns["x0"]) > 0, "yes", "no")
    table, path, few = pa.table(columns), folder / "new.csv", folder / "few.csv"
    pa_csv.write_csv(table, path)
    pa_csv.write_csv(table.slice(0, 5_000), few)
    words = ["data=table", f"data.path={few}", "data.target=y", "trainer.max_epochs=1", "logger=[]"]
    outputs = str(folder / "outputs")
    nnkit.train([*words, f"output_dir={outputs}", "name=predicting"])
    peers = {
        "pandas, the same network, json": (_PANDAS, "out.jsonl"),
        "nnkit predict --output out.jsonl": (_PREDICT, "out.jsonl"),
        "nnkit predict --output out.csv": (_PREDICT, "out.csv"),
    }
    cases = {
        name: partial(
            program, "work()", str(path), "predicting", outputs, str(folder / file), imports=imports
        )
        for name, (imports, file) in peers.items()
        if find_spec("pandas") or imports != _PANDAS
    }
    limits = dict.fromkeys([*cases][1:], Limit(1.0))
    yield from Group(cases, limits, count=num_rows, unit="rows").measure(setting)
