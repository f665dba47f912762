"""Texts of mixed lengths predicted: `nnkit predict` beside a loop that sorts all of them by length and batches 64."""

import csv
import random
from collections.abc import Iterator
from pathlib import Path

from lines import Group, Limit, Line, Setting
from measuring import PREDICT, beside_loop

import nnkit

_LOOP = """
import csv, torch, nnkit
from nnkit.data.tokenizing import tokenizer_from
run = nnkit.load("run", output_dir=sys.argv[2])
network, names = run.network.eval(), run.task.class_names
tokenizer, most = tokenizer_from(run.data.preprocessing["tokenizer"]), run.data.preprocessing["max_length"]
def work():
    with open(sys.argv[1], newline="") as file:
        texts = [row[0] for row in csv.reader(file)][1:]
    ids = [torch.as_tensor(one[:most]).long() for one in tokenizer.encode_batch(texts)]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    answers = [None] * len(ids)
    with torch.inference_mode():
        for start in range(0, len(order), 64):
            rows = order[start : start + 64]
            inputs = torch.nn.utils.rnn.pad_sequence([ids[row] for row in rows], batch_first=True)
            mask = torch.arange(inputs.shape[1]) < torch.tensor([len(ids[row]) for row in rows])[:, None]
            shares, classes = network(inputs, mask).softmax(-1).max(-1)
            for row, share, number in zip(rows, shares.tolist(), classes.tolist()):
                answers[row] = {"item": row + 1, "label": names[number], "probability": share}
    with open(sys.argv[3], "w") as file:
        file.writelines(json.dumps(answer) + "\\n" for answer in answers)
"""


def write_texts(path: Path, count: int) -> None:
    """Write a CSV of texts of 3 to 250 words, most of them short, without labels; those to train on have some."""
    dice = random.Random(0)
    words = ["".join(dice.choices("etaoinshrdlucmfwypvbgk", k=dice.randint(2, 9))) for _ in range(5_000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text"])
        for _ in range(count):
            length = min(250, max(3, int(dice.lognormvariate(3.2, 0.9))))
            writer.writerow([" ".join(dice.choices(words, weights, k=length))])


def predicting(setting: Setting) -> Iterator[Line]:
    """Yield what predicting takes by a BERT of two layers; the loop imports and opens the run before its time."""
    path, count, outputs = setting.folder / "texts.csv", setting.size(5_000, 60), setting.folder / "outputs"
    write_texts(path, count)
    rows = path.read_text().splitlines()[1:201]
    training = setting.folder / "training.csv"
    labelled = [f"{text},{'ab'[number % 2]}" for number, text in enumerate(rows)]
    training.write_text("\n".join(["text,label", *labelled]) + "\n")
    words = ["model=bert_tiny", "data=text_csv", f"data.path={training}", "data.tokenizer=wordpiece"]
    nnkit.train(
        [*words, "trainer.max_steps=2", "logger=[]", "report=false", f"output_dir={outputs}", "name=run"]
    )
    cases = beside_loop("sorted by length, batches of 64", _LOOP, path, outputs)
    yield from Group(cases, {PREDICT: Limit(1.1)}, count=count, unit="texts").measure(setting)
