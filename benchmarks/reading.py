"""What it costs to read a large table, beside pandas and pyarrow on the same file in the same run.

python benchmarks/reading.py
python benchmarks/reading.py --rows 200000 --parquet-gigabytes 0.2

1. A CSV of mixed columns: seconds and peak memory of pyarrow's and pandas' `read_csv`, of `data=table` prepared for the
   first time, and of a second start. Each in a process of its own, in turn, the median of the rounds.
2. A Parquet file of at least so many bytes trained on for some steps: peak of anonymous memory.
3. Predictions: rows a second of `nnkit predict`, and of pandas with the same network and json. Both count from where
   everything is imported and the run is loaded once; what that takes, and the rows a second of the whole process, stand
   beside it. pandas takes its network from nnkit, so that it begins with the same imports.

pandas is no dependency of nnkit: `pip install pandas`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

_MEBI = 1 << 20
# What each process ends with: seconds on the clock and of the processor, and megabytes, all beyond the imports; and the
# seconds on the clock that these take.
_TIMED = """
import json, os, sys, time
began = time.perf_counter()
{imports}
def memory(field):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))
before, start, cpu = memory("VmRSS"), time.perf_counter(), time.process_time()
{work}
wall, cpu = time.perf_counter() - start, time.process_time() - cpu
peak = memory("VmHWM") - before
print(json.dumps({{"wall": wall, "cpu": cpu, "peak": peak, "start": start - began}}))
"""
_NNKIT = """
from nnkit.data.tables.table import Table
def open_it():
    data = Table(path=sys.argv[1], target="y")
    data.setup_data()
    return data
"""
PROCESSES = {
    "pyarrow.csv.read_csv": ("import pyarrow.csv", "table = pyarrow.csv.read_csv(sys.argv[1])"),
    "pandas.read_csv": ("import pandas", "frame = pandas.read_csv(sys.argv[1])"),
    "data=table, first start": (_NNKIT, "open_it()"),
    "data=table, second start": (_NNKIT, "open_it()"),
}


def write_csv(path: Path, num_rows: int) -> float:
    """Write 20 mixed columns, and return the megabytes of pyarrow's table of them."""
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
    return float(pa_csv.read_csv(path).nbytes / _MEBI)


def run(code: str, *words: str, cache: str) -> dict[str, float]:
    """Run a piece of Python in a process of its own and return what it prints last."""
    environment = {**os.environ, "NNKIT_CACHE": cache, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def reading(folder: Path, num_rows: int, rounds: int) -> None:
    """Print the table of the first part."""
    path = folder / "large.csv"
    size = write_csv(path, num_rows)
    print(
        f"{num_rows:,} rows x 20 columns, {path.stat().st_size / _MEBI:,.0f} MB; pyarrow's table {size:,.0f} MB"
    )
    found: dict[str, list[dict[str, float]]] = {name: [] for name in PROCESSES}
    for number in range(rounds):
        for name, (imports, work) in PROCESSES.items():
            code = _TIMED.format(imports=imports, work=work)
            found[name].append(run(code, str(path), cache=str(folder / f"cache-{number}")))
    peer = statistics.median(one["wall"] for one in found["pyarrow.csv.read_csv"])
    print("| | seconds | of the processor | x pyarrow's | peak MB | x pyarrow's table |")
    print("|---|---|---|---|---|---|")
    for name, rows in found.items():
        wall, cpu, peak = (statistics.median(row[key] for row in rows) for key in ("wall", "cpu", "peak"))
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {wall / peer:.2f} | {peak:,.0f} | {peak / size:.2f} |")


def write_parquet(path: Path, gigabytes: float) -> int:
    """Write a file of at least this size with 16 columns of numbers and 2 of categories, and return its rows."""
    random = np.random.default_rng(0)
    rows_in_group = 500_000
    names = [f"x{place}" for place in range(16)]
    num_groups = 0
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
        num_groups += 1
    writer.close()
    return num_groups * rows_in_group


_TRAIN = """
import json, sys, threading, time
peak = 0.0
def watch():
    global peak
    while True:
        lines = open("/proc/self/status").read().splitlines()
        peak = max(peak, *(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")))
        time.sleep(0.02)
threading.Thread(target=watch, daemon=True).start()
import nnkit
start = time.perf_counter()
nnkit.train(["data=table", f"data.path={sys.argv[1]}", "data.target=y", "data.batch_size=256", "trainer.max_steps=200",
             "logger=[]", f"output_dir={sys.argv[2]}", "name=large", "trainer.num_threads=1"])
print(json.dumps({"peak": peak, "wall": time.perf_counter() - start}))
"""


def training(folder: Path, gigabytes: float) -> None:
    """Print the second part."""
    path = folder / "large.parquet"
    num_rows = write_parquet(path, gigabytes)
    found = run(_TRAIN, str(path), str(folder / "outputs"), cache=str(folder / "cache-parquet"))
    print(
        f"\n{num_rows:,} rows of Parquet, {path.stat().st_size / 1e9:.2f} GB: 200 steps after "
        f"{found['wall']:.0f} s in all, at most {found['peak']:,.0f} MB of anonymous memory"
    )
    path.unlink()


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


def predicting(folder: Path, num_rows: int, rounds: int) -> None:
    """Print the third part."""
    import nnkit

    random = np.random.default_rng(1)
    columns: dict[str, object] = {f"x{place}": random.normal(size=num_rows).round(4) for place in range(10)}
    for place in range(4):
        columns[f"c{place}"] = np.array(["a", "b", "c"])[random.integers(0, 3, num_rows)]
    columns["y"] = np.where(np.asarray(columns["x0"]) > 0, "yes", "no")
    table, path = pa.table(columns), folder / "new.csv"
    pa_csv.write_csv(table, path)
    pa_csv.write_csv(table.slice(0, 5_000), folder / "few.csv")
    words = [
        "data=table",
        f"data.path={folder / 'few.csv'}",
        "data.target=y",
        "trainer.max_epochs=1",
        "logger=[]",
    ]
    nnkit.train([*words, f"output_dir={folder / 'outputs'}", "name=predicting", "trainer.num_threads=1"])
    outputs = str(folder / "outputs")
    print(
        f"\n| {num_rows:,} rows of 10 numbers and 4 categories, one thread | rows a second | x pandas' | processor us "
        "a row | seconds to start | rows a second, start and all |"
    )
    print("|---|---|---|---|---|---|")
    peers = {
        "pandas, the same network, json": (_PANDAS, "out.jsonl"),
        "nnkit predict --output out.jsonl": (_PREDICT, "out.jsonl"),
        "nnkit predict --output out.csv": (_PREDICT, "out.csv"),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, (imports, file) in peers.items():
            code = _TIMED.format(imports=imports, work="work()")
            words = [str(path), "predicting", outputs, str(folder / file)]
            found[name].append(run(code, *words, cache=str(folder / "cache-predict")))
    peer = statistics.median(one["wall"] for one in found["pandas, the same network, json"])
    for name, rows in found.items():
        wall, cpu, start = (statistics.median(row[key] for row in rows) for key in ("wall", "cpu", "start"))
        print(
            f"| {name} | {num_rows / wall:,.0f} | {peer / wall:.2f} | {cpu / num_rows * 1e6:.2f} | {start:.1f} | "
            f"{num_rows / (wall + start):,.0f} |"
        )


def main() -> None:
    """Print the three parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--parquet-gigabytes", type=float, default=2.0)
    parser.add_argument("--predict-rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=("reading", "training", "predicting"))
    options = parser.parse_args()
    chosen = options.only or ["reading", "training", "predicting"]
    with tempfile.TemporaryDirectory() as folder:
        if "reading" in chosen:
            reading(Path(folder), options.rows, options.rounds)
        if "training" in chosen:
            training(Path(folder), options.parquet_gigabytes)
        if "predicting" in chosen:
            predicting(Path(folder), options.predict_rows, options.rounds)


if __name__ == "__main__":
    main()
