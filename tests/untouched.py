"""What a refused command leaves behind: nothing."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

# What a run's own journal notes of every verb that opens it.
JOURNAL = "train.log"


def tree(folder):
    """Return kind, size and times of all that is below a folder, by path; contents do not change without these."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        status = path.lstat()
        if path.name != JOURNAL:
            times = () if path.is_dir() else (status.st_mtime_ns, status.st_size, status.st_ino)
            found[str(path.relative_to(folder))] = (status.st_mode, *times)
    return found


@contextmanager
def untouched(folder, monkeypatch):
    """Assert that the block makes, changes and removes no file below a folder, in the cache or in the temporary folder.

    Args:
        folder: The working directory; the cache and the temporary folder are moved into it.
        monkeypatch: Pytest's.
    """
    for name in ("cache", "temporary"):
        (folder / name).mkdir(exist_ok=True)
    monkeypatch.setenv("NNKIT_CACHE", str(folder / "cache"))
    monkeypatch.setenv("TMPDIR", str(folder / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "temporary"))
    here, before = Path.cwd(), tree(folder)
    yield
    assert Path.cwd() == here
    assert tree(folder) == before


def assert_refused(answer, words, text, most=3000):
    """Assert that a command has ended with exit code 2 and a sentence, and with nothing that a terminal would obey."""
    code, out, err = answer
    assert code == 2, (words, out, err)
    assert text in " ".join(err.split()), (words, err)
    assert "Traceback" not in err, err
    assert len(err) < most, len(err)
    assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in err), repr(err)
