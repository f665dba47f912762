"""docs/data.md tells what to type for what one has: each of its lines is typed here."""

import gzip
import io
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

PAGE = Path(__file__).parents[1] / "docs" / "data.md"
# Enough to see that a run trains.
QUICK = ["trainer.max_steps=2", "trainer.num_threads=1", "logger=[]", "callbacks=[checkpoint]"]
SIZE = 60


def typed_lines(verb):
    """Return what the tables of the page say to type, for one verb."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    codes = [code for line in lines for code in re.findall(r"`([^`]+)` \|$", line)]
    return [code for code in codes if re.match(rf"(\w+=\S+ )?nnkit {verb}\b", code)]


def write(path, columns, delimiter=",", encoding="utf-8", header=True):
    """Write a table by hand, so that nothing of nnkit's reader is tested by the writer of its library."""
    rows = [list(columns)] * header + [list(row) for row in zip(*columns.values(), strict=True)]
    text = "".join(delimiter.join(map(str, row)) + "\n" for row in rows)
    path.write_bytes(text.encode(encoding))
    return columns


def flowers(random, size=SIZE):
    """Return measures of flowers, and their names, which follow from one of them."""
    length, width = random.normal(5, 1, size).round(2), random.normal(3, 1, size).round(2)
    names = np.array(["setosa", "versicolor", "virginica"])[np.digitize(length, [4.6, 5.4])]
    return {"id": np.arange(100, 100 + size), "length": length, "width": width, "species": names}


def tables(folder, random):
    """Write the tables that the page names."""
    found = write(folder / "flowers.csv", flowers(random))
    plain = {name: [value.item() for value in values] for name, values in found.items()}
    pq.write_table(pa.table(plain), folder / "flowers.parquet")
    rows = [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]
    (folder / "flowers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "flowers.csv.gz").write_bytes(gzip.compress((folder / "flowers.csv").read_bytes()))
    (folder / "days").mkdir()
    for day in (1, 2):
        write(folder / "days" / f"2024-0{day}.csv", flowers(random))
    write(
        folder / "new.csv", {name: values for name, values in flowers(random, 7).items() if name != "species"}
    )
    for name in ("more", "train", "test"):
        write(folder / f"{name}.csv", flowers(random))
    write(folder / "parts.csv", {**flowers(random), "split": (["train"] * 4 + ["val", "test"]) * 10})
    area = random.integers(30, 200, SIZE)
    write(folder / "houses.csv", {"area": area, "rooms": area // 30, "price": area * 3000, "rent": area * 11})
    amounts = [f"{1000 + number},5".replace("1", "1.", 1) for number in area]
    write(folder / "preise.csv", {"fläche": [f"{number},25" for number in area], "preis": amounts}, ";")
    tags = np.array(["red", "red|round", "round", "small|red"])[random.integers(0, 4, SIZE)]
    write(folder / "things.csv", {"weight": area, "tags": tags})
    write(folder / "films.csv", {"length": area, "drama": area % 2, "comedy": area % 3 // 2})
    kinds = np.array(["好", "差"])[random.integers(0, 2, SIZE)]
    write(
        folder / "gbk.csv",
        {"价格": area, "颜色": np.array(["红色", "蓝色"])[area % 2], "类别": kinds},
        encoding="gbk",
    )
    write(
        folder / "rows.csv", {"a": area, "b": area % 7, "c": np.array(["yes", "no"])[area % 2]}, header=False
    )
    lands = np.array(["NA", "EU", "AS"])[random.integers(0, 3, SIZE)]
    write(folder / "countries.csv", {"income": area, "continent": lands})
    days = [f"2024-0{1 + number // 28}-{1 + number % 28:02}" for number in range(SIZE)]
    visits = {
        "patient": [f"p{number // 4}" for number in range(SIZE)],
        "pulse": area,
        "day": days,
        "ill": lands,
    }
    write(folder / "visits.csv", visits)


def texts(folder, random):
    """Write the files of texts that the page names."""
    words = np.array(
        ["the", "film", "room", "song", "was", "is", "very", "good", "bad", "dull", "lovely", "cold"]
    )
    lines = [" ".join(words[random.integers(0, len(words), 6)]) for _ in range(SIZE)]
    labels = np.array(["good", "bad"])[random.integers(0, 2, SIZE)]
    write(folder / "reviews.csv", {"text": lines, "label": labels})
    write(
        folder / "articles.csv",
        {"text": lines, "tags": np.array(["a", "a|b", "b|c"])[random.integers(0, 3, SIZE)]},
    )
    rows = [{"letter": line, "sender": label} for line, label in zip(lines, labels.tolist(), strict=True)]
    (folder / "letters.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "pairs.tsv").write_text("".join(f"{line}\t{line[::-1]}\n" for line in lines))
    (folder / "talks.en").write_text("".join(f"{line}\n" for line in lines))
    (folder / "talks.de").write_text("".join(f"{line.upper()}\n" for line in lines))
    (folder / "book.txt").write_text("\n".join(lines * 5))
    # As `save_to_disk` of Hugging Face's datasets writes it.
    (folder / "imdb").mkdir()
    table = pa.table({"text": lines, "label": (labels == "good").astype(int)})
    path = str(folder / "imdb" / "data-00000-of-00001.arrow")
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    (folder / "imdb" / "state.json").write_text('{"_split": null}')
    (folder / "imdb" / "dataset_info.json").write_text("{}")


def series(folder, random):
    """Write the series that the page names."""
    times = [str(np.datetime64("2024-01-01T00") + number) for number in range(200)]
    wave = np.sin(np.arange(200) / 5).round(3)
    write(folder / "power.csv", {"time": times, "load": wave})
    write(
        folder / "weather.csv", {"time": times, "temperature": wave, "wind": random.normal(size=200).round(3)}
    )
    both = {"time": [*times, *times], "shop": ["north"] * 200 + ["south"] * 200, "sales": [*wave, *-wave]}
    write(folder / "shops.csv", both)


def pictures(folder, random):
    """Write the folders of pictures that the page names."""
    for place in ("pictures", "xray", "parted/train", "parted/val", "parted/test"):
        for name, level in (("dark", 60), ("light", 190)):
            (folder / place / name).mkdir(parents=True)
            for number in range(6):
                pixels = random.integers(level - 40, level + 40, (20, 20))
                kind = np.uint16 if place == "xray" else np.uint8
                Image.fromarray((pixels * (16 if place == "xray" else 1)).astype(kind)).save(
                    folder / place / name / f"{number}.png"
                )


def arrays(folder, random):
    """Write the arrays and the module that the page names."""
    points = random.normal(size=(SIZE, 2)).astype(np.float32)
    np.savez(folder / "points.npz", x=points, y=(points[:, 0] > 0).astype(np.int64))
    (folder / "mine.py").write_text(
        "import torch\n\n"
        "class Spirals(torch.utils.data.Dataset):\n"
        "    def __len__(self):\n        return 60\n"
        "    def __getitem__(self, i):\n"
        "        t = torch.tensor(i / 60.0)\n"
        "        return torch.stack([t * torch.cos(9 * t), t * torch.sin(9 * t)]), i % 2\n"
    )


@pytest.fixture
def what_i_have(tmp_path, monkeypatch):
    """Everything that the page names, in the working directory."""
    random = np.random.default_rng(0)
    for make in (tables, texts, series, pictures, arrays):
        make(tmp_path, random)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("line", typed_lines("train"))
def test_what_i_type_trains(line, what_i_have, cli, monkeypatch):
    words = shlex.split(line)
    if "=" in words[0] and words[0] != "nnkit":
        name, value = words.pop(0).split("=")
        monkeypatch.setenv(name, value)
    code, out, err = cli(*words[1:], *QUICK)
    assert code == 0, err
    assert "test/" in out + err


@pytest.mark.parametrize("line", typed_lines("predict") + typed_lines("test"))
def test_what_i_want_afterwards(line, what_i_have, cli, monkeypatch):
    words = ["train", "data=table", "data.path=flowers.csv", "data.target=species", "name=flowers"]
    assert cli(*words, *QUICK)[0] == 0
    command, _, given = line.partition(" < ")
    if given:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path(given).read_bytes())))
    code, out, err = cli(*shlex.split(command)[1:])
    assert code == 0, err
    assert out or Path("predictions.parquet").exists()


def test_every_way_of_typing_is_found():
    assert len(typed_lines("train")) >= 30
    assert len(typed_lines("predict")) >= 5
    assert len(typed_lines("test")) >= 1
