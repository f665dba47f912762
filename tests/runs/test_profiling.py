"""`trainer.profiler`: the report is shown and kept in the run directory, and nothing is written elsewhere."""

import pytest

import nnkit
from nnkit.errors import ConfigError, UserError

WORDS = [
    "data=digits", "model=mlp", "data.subset=0.1", "trainer.max_epochs=1", "trainer.num_threads=1", "logger=[]",
    "data.batch_size=8", "callbacks=[checkpoint]",
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "said"),
    [("simple", "run_training_batch"), ("advanced", "function calls")],
)
def test_the_report_is_shown_and_kept(name, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = nnkit.train([*WORDS, f"trainer.profiler={name}"], show=True).run
    text = (run.path / "profile.txt").read_text(encoding="utf-8")
    assert said in text
    out = capsys.readouterr().out
    assert text.strip().splitlines()[0] in out
    if name == "simple":
        assert said in out
    log = run.path / "train.log"
    assert not log.exists() or "failed to export" not in log.read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


def test_a_profiler_that_writes_files_of_its_own_is_refused():
    with pytest.raises(ConfigError, match=r"trainer\.profiler: pytorch writes its own trace files"):
        nnkit.train([*WORDS, "trainer.profiler=pytorch"])


def test_a_link_in_the_run_directory_is_not_followed(tmp_path, monkeypatch):
    from nnkit.runs.resuming import resume

    monkeypatch.chdir(tmp_path)
    run = nnkit.train([*WORDS, "scheduler=constant"]).run
    (tmp_path / "mine.txt").write_text("mine")
    (run.path / "profile.txt").symlink_to(tmp_path / "mine.txt")
    with pytest.raises(UserError, match=r"profile\.txt is a link"):
        resume(str(run.path), words=["trainer.max_epochs=2", "trainer.profiler=simple"])
    assert (tmp_path / "mine.txt").read_text() == "mine"
