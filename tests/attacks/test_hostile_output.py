"""FAULTS class 17: names from elsewhere give no orders to the terminal, and no stream ends what is being done."""

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from hostile_run import QUICK, RESUME
from rich.table import Table
from warm import Warm, typed

from nnkit.ui import logs
from nnkit.ui.consoles import Console
from nnkit.ui.terminal import json_line

# Sets the title of the window, moves the cursor and hides what follows.
ORDERS = "\x1b]0;owned\x07\x1b[2J\x9b8m"
START = "import sys\nfrom nnkit.cli import main\nsys.exit(main())\n"


def harmless(text):
    return all(sign.isprintable() or sign in "\n\t" for sign in text)


def test_a_warning_and_a_log_file_hold_no_orders(tmp_path, capsys):
    logs.set_up()
    path = tmp_path / "train.log"
    with logs.remembered() as records:
        logging.getLogger("nnkit").warning("%s is left out", f"{ORDERS}.png")
    with logs.to_file(path):
        logging.getLogger("nnkit").warning("%s is left out", f"{ORDERS}.png")
        logging.getLogger("lightning.pytorch").warning("%s is odd, \u732b.png is not", ORDERS)
    logs.write(tmp_path / "again.log", records)
    said = [capsys.readouterr().err, path.read_text(), (tmp_path / "again.log").read_text()]
    for text in said:
        assert "is left out" in text
        assert harmless(text), repr(text)
    assert "\u732b.png" in path.read_text()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_no_table_and_no_line_holds_orders(is_terminal):
    file = io.StringIO()
    console = Console(file=file, force_terminal=is_terminal, color_system=None, width=100)
    table = Table("name", title=f"title {ORDERS}")
    table.add_row(f"cell {ORDERS}")
    console.print(table, f"line {ORDERS}")
    text = file.getvalue()
    assert all(word in text for word in ("title", "cell", "line"))
    assert "\x1b]" not in text and "\x1b[2J" not in text and "\x9b" not in text and "\x07" not in text


def test_a_run_and_its_warnings_name_a_picture_without_its_orders(cli, hostile):
    """The verbs themselves: a name in a manifest, in a record and on the command line."""
    (hostile.checkpoints / f"step-{ORDERS}.json").write_text("{")
    hostile.update(error=ORDERS, status=ORDERS)
    for words in (("test", "run"), ("doctor", "run"), ("runs",), ("predict", "run", f"{ORDERS}.csv")):
        _, out, err = cli(*words)
        assert harmless(out + err), words


def unread(*words):
    """Run a command line whose output nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, 1)
    os.close(writer)
    return typed(*words)


def test_a_reader_that_leaves_ends_no_training():
    """As `nnkit train | head -1` does, before the first line."""
    words = [word for word in QUICK if not word.startswith("callbacks=")]
    code, said = Warm(unread, "train", *words, "callbacks=[checkpoint,progress]", "name=run").wait()
    assert code == 0, said
    record = json.loads(Path("outputs/run/run.json").read_text())
    assert (record["status"], record.get("error")) == ("done", None)
    assert "test/accuracy" in record["metrics"]
    assert "epoch 2" in Path("outputs/run/train.log").read_text()


LABELS = ["\u732b", "caf\u00e9", "plain"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_an_answer_reads_the_same_in_every_encoding(encoding):
    buffer = io.BytesIO()
    file = io.TextIOWrapper(buffer, encoding=encoding)
    file.write(json_line({"labels": LABELS}, file))
    file.flush()
    assert json.loads(buffer.getvalue().decode(encoding))["labels"] == LABELS


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_no_verb_fails_for_what_an_encoding_lacks(hostile, encoding):
    hostile.update(error="\u732b", seed="\u732b")
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for words in (["runs"], ["runs", "--json"]):
        done = subprocess.run(
            [sys.executable, "-c", START, *words], env=environment, capture_output=True, timeout=300
        )
        assert b"Traceback" not in done.stderr and b"UnicodeEncodeError" not in done.stderr, words


def test_a_directory_that_cannot_be_written_is_a_sentence(hostile, refuses, monkeypatch):
    """A read-only medium, or the run of somebody else: no user is kept from writing who is root, as in a test."""

    def acquire(self, *arguments, **named):
        raise PermissionError(13, "Permission denied", self.lock_file)

    monkeypatch.setattr(FileLock, "acquire", acquire)
    refuses(
        RESUME,
        "cannot be locked for this process: Permission denied",
        "make the directory writable",
        codes=(1,),
    )
