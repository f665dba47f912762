"""A run that is served answers what nnkit predict and nnkit generate answer, for each kind of data."""

import base64
import csv
import io
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import samples
from analysis.inspected import in_folder
from PIL import Image, ImageDraw
from serving import server


def drawn(colour=255, shift=0):
    """Return a picture file: a bar, white on black."""
    image = Image.new("L", (280, 280))
    ImageDraw.Draw(image).line([(140 + shift, 60), (120, 220)], fill=colour, width=24)
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


def same(found, expected):
    """Compare predictions of JSON; the names of items are others, and a batch may round otherwise."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert_close({**one, "item": ""}, {**other, "item": ""})


def assert_close(one, other):
    if isinstance(one, dict):
        assert [*one] == [*other]
        for name in one:
            assert_close(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_close(left, right)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-5, abs=2e-6)
    else:
        assert one == other


def typed(cli, *words):
    """Return the JSON lines that a command prints."""
    code, out, err = cli(*words, "--format", "jsonl")
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def records(path):
    """Return the rows of a table, numbers as numbers."""
    with Path(path).open(newline="") as file:
        return [{name: number(cell) for name, cell in row.items()} for row in csv.DictReader(file)]


def number(cell):
    try:
        return float(cell)
    except ValueError:
        return cell


# Model of tests/analysis/inspected.py -> kind of its data.
RUNS = {
    "lenet5": "pictures",
    "mlp": "table",
    "lstm": "texts",
    "transformer": "pairs",
    "bert_tiny": "sentences",
    "gpt": "text",
    "forecast": "series",
}


@pytest.mark.parametrize("name", RUNS)
def test_predict_answers_what_nnkit_predict_answers(name, cli, monkeypatch):
    kind, loaded = RUNS[name], in_folder(name, monkeypatch)
    item = samples.item(kind)
    body = {"texts": [item]}
    if kind == "pictures":
        Path(item).write_bytes(drawn())
        body = {"images": [base64.b64encode(drawn()).decode()]}
    elif kind == "table":
        body = {"rows": records(item)[:5]}
        with Path(item).open() as file, Path("five.csv").open("w") as five:
            five.writelines(line for line, _ in zip(file, range(6), strict=False))
        item = "five.csv"
    elif kind == "series":
        body = {"series": records(item)}
    expected = typed(cli, "predict", loaded.run.path, item, "--top-k", "2")
    with server(loaded, kind) as client:
        status, found = client.post("/predict", {**body, "top_k": 2})
        assert status == 200, found
        same(found["predictions"], expected)
        # What every layer does is of the same answer.
        status, seen = client.post("/layers", {**body, "contributions": True})
        assert status == 200, seen
        best = seen["outcome"]["best"][0]
        if "label" in expected[0]:
            assert max(best, key=lambda pair: pair[1])[0] == expected[0]["label"]
        if kind == "series":
            assert best[0][1] == pytest.approx(next(iter(expected[0]["values"].values())), rel=1e-4)
        if kind == "pairs":
            assert seen["outcome"]["written"] == expected[0]["text"]


def test_maps_and_units_are_those_of_a_forward_pass(monkeypatch):
    loaded = in_folder("lenet5", monkeypatch)
    seen = {}

    def keep(module, given, output):
        seen["C1"] = output[0].detach().numpy()

    with server(loaded, "pictures") as client:
        status, found = client.post("/layers", {"images": [base64.b64encode(drawn()).decode()]})
    assert status == 200
    Path("bar.png").write_bytes(drawn())
    ((_, batch),) = loaded.data.read(["bar.png"])
    layers = {layer["name"]: layer for layer in found["layers"]}
    assert [layers[name]["shape"] for name in ("C1", "S2", "C3", "S4", "C5", "F6")] == [
        [6, 28, 28], [6, 14, 14], [16, 10, 10], [16, 5, 5], [120], [84],
    ]  # fmt: skip
    handle = loaded.network.body.c1.register_forward_hook(keep)
    try:
        loaded.network(batch.inputs)
    finally:
        handle.remove()
    levels = np.frombuffer(base64.b64decode(layers["C1"]["levels"]), np.int8).reshape(6, 28, 28)
    strongest = layers["C1"]["strongest"]
    assert strongest == pytest.approx(float(np.abs(seen["C1"]).max()), rel=1e-5)
    assert np.abs(levels / 127 * strongest - seen["C1"]).max() <= strongest / 254 * 1.01
    # What the network gets: the pixels of the picture that it read.
    pixels = np.frombuffer(base64.b64decode(found["input"]["pixels"]), np.uint8)
    mean, std = loaded.data.preprocessing["mean"][0], loaded.data.preprocessing["std"][0]
    expected = ((batch.inputs[0, 0].numpy() * std + mean) * 255).round()
    assert (pixels.reshape(*found["input"]["shape"])[..., 0] == expected).all()


def test_a_drawn_stroke_is_brought_to_the_form_of_mnist():
    """Centred by mass, its longer side 20 pixels of 28, white on black: what the data module does is what is served."""
    from nnkit.data.pictures.image_files import centre_ink, to_array

    pixels = to_array(centre_ink(Image.open(io.BytesIO(drawn(shift=60))), 28, 20, by_mass=True))[0].astype(
        float
    )
    rows, columns = np.nonzero(pixels > 64)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 in (19, 20)
    weights = pixels.sum()
    assert (pixels.sum(1) @ np.arange(28)) / weights == pytest.approx(13.5, abs=0.75)
    assert (pixels.sum(0) @ np.arange(28)) / weights == pytest.approx(13.5, abs=0.75)
    assert pixels[0].max() == 0


def test_a_picture_file_is_sent_as_it_is(monkeypatch):
    loaded = in_folder("lenet5", monkeypatch)
    with server(loaded, "pictures") as client:
        status, _, content = client.request("POST", "/predict", drawn(), {"Content-Type": "image/png"})
        _, other = client.post("/predict", {"images": [base64.b64encode(drawn()).decode()]})
    assert status == 200
    assert json.loads(content) == other


def test_a_text_goes_on_as_nnkit_generate_writes_it(cli, monkeypatch):
    loaded = in_folder("gpt", monkeypatch)
    asked = {"prompt": "the cat", "length": 20, "temperature": 0.7, "seed": 3, "top_k": 5}
    words = ("--prompt", "the cat", "--length", "20", "--temperature", "0.7", "--seed", "3", "--top-k", "5")
    (expected,) = typed(cli, "generate", loaded.run.path, *words)
    with server(loaded, "text") as client:
        status, lines = client.lines("/generate", asked)
        assert status == 200
        *tokens, done = lines
        assert done["text"] == expected["text"] == "".join(line["text"] for line in tokens)
        assert done["done"] == "length"
        assert done["tokens"] == 20
        for line in tokens[:20]:
            shares = dict(map(tuple, line["candidates"]))
            assert 0 < line["probability"] <= 1
            assert shares.get(line["token"], line["probability"]) == line["probability"]
            assert [*shares.values()] == sorted(shares.values(), reverse=True)
        # The first candidates are those of the network for the prompt.
        status, found = client.post("/predict", {"texts": ["the cat"], "top_k": 3})
        assert status == 200, found
        assert client.lines("/generate", {**asked, "stop": ["a"]})[1][-1]["done"] in ("stop", "length")


def test_what_is_masked_and_what_is_translated_is_what_nnkit_generate_prints(cli, monkeypatch):
    loaded = in_folder("bert_tiny", monkeypatch)
    (expected,) = typed(cli, "generate", loaded.run.path, "--prompt", "the [MASK] saw", "--next", "a dog")
    with server(loaded, "sentences") as client:
        status, (found,) = client.lines("/generate", {"prompt": "the [MASK] saw", "next": "a dog"})
    assert (status, found) == (200, expected)
    loaded = in_folder("transformer", monkeypatch)
    expected = typed(cli, "generate", loaded.run.path, "--prompt", "the cat", "--nbest", "2", "--beam", "2")
    with server(loaded, "pairs") as client:
        status, found = client.lines("/generate", {"prompt": "the cat", "nbest": 2, "beam": 2})
    assert (status, found) == (200, expected)


def test_requests_that_come_together_are_one_batch_and_each_gets_its_own_answer(monkeypatch):
    loaded = in_folder("lenet5", monkeypatch)
    pictures = [base64.b64encode(drawn(200 - number, 4 * number)).decode() for number in range(20)]
    found = {}
    with server(loaded, "pictures") as client:
        alone = [client.post("/predict", {"images": [one], "top_k": 10})[1] for one in pictures]

        def ask(number):
            found[number] = client.post("/predict", {"images": [pictures[number % 20]], "top_k": 10})

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        _, health = client.get("/health")
    assert {status for status, _ in found.values()} == {200}
    for number in range(200):
        same(found[number][1]["predictions"], alone[number % 20]["predictions"])
    assert health["requests"] == 220
    # Twenty were alone.
    assert health["batches"] < 200
    assert health["largest_batch"] > 1
    assert health["waiting"] == 0
