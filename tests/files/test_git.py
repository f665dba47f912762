"""The commit is the one that git itself names; whatever else stands in git's files is not copied."""

import os
import shutil
import subprocess

import pytest

from nnkit.files.git import commit

SECRET = "the secret of another directory"


@pytest.fixture
def git(tmp_path):
    """Return a function that runs git in tmp_path/repository, which has two commits."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    names = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **names, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}

    def run(*words, where=tmp_path / "repository"):
        command = ["git", "-C", str(where), *words]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    (tmp_path / "repository" / "inner").mkdir(parents=True)
    run("init", "-q", "-b", "main")
    for message in ("one", "two"):
        run("commit", "-q", "--allow-empty", "-m", message)
    return run


def test_it_is_what_git_says(git, tmp_path):
    place = tmp_path / "repository"
    head = git("rev-parse", "HEAD")
    assert len(head) == 40
    assert commit(place) == commit(place / "inner") == head
    git("pack-refs", "--all")
    assert not (place / ".git/refs/heads/main").exists()
    assert commit(place) == head
    # A branch that is newer than what was packed.
    git("commit", "-q", "--allow-empty", "-m", "three")
    assert commit(place) == git("rev-parse", "HEAD") != head
    git("checkout", "-q", "-b", "feature/with-a-slash", head)
    assert commit(place) == head
    git("checkout", "-q", "--detach", "main")
    assert commit(place) == git("rev-parse", "HEAD") != head


def test_a_worktree_has_a_commit_of_its_own(git, tmp_path):
    git("worktree", "add", "-q", "-b", "other", str(tmp_path / "worktree"), "HEAD~1")
    for pack in (False, True):
        if pack:
            git("pack-refs", "--all")
        assert commit(tmp_path / "worktree") == git("rev-parse", "HEAD~1")
        assert commit(tmp_path / "repository") == git("rev-parse", "HEAD")


def test_there_may_be_none(tmp_path):
    assert commit(tmp_path) is None
    (tmp_path / ".git").mkdir()
    assert commit(tmp_path) is None
    (tmp_path / ".git/HEAD").write_text("ref: refs/heads/main\n")
    assert commit(tmp_path) is None


HEADS = {
    "above": b"ref: ../../secret",
    "above, through a branch": b"ref: refs/../../../secret",
    "absolute": b"ref: /etc/passwd",
    "the text itself": SECRET.encode(),
    "no text": b"\xff\xfe\x00",
    "empty": b"",
    "long": b"ref: refs/" + b"x" * 100_000,
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_head_leads_to_no_other_file(tmp_path, head):
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "work" / ".git").mkdir(parents=True)
    (tmp_path / "work/.git/HEAD").write_bytes(head)
    assert commit(tmp_path / "work") is None


def test_no_link_and_no_pipe_leads_to_another_file(tmp_path):
    (tmp_path / "secret").write_text(SECRET)
    heads = tmp_path / "work/.git/refs/heads"
    heads.mkdir(parents=True)
    (tmp_path / "work/.git/HEAD").write_text("ref: refs/heads/main")
    (heads / "main").symlink_to(tmp_path / "secret")
    assert commit(tmp_path / "work") is None
    (heads / "main").unlink()
    os.mkfifo(heads / "main")
    os.mkfifo(tmp_path / "work/.git/packed-refs")
    assert commit(tmp_path / "work") is None
    other = tmp_path / "other"
    other.mkdir()
    (other / ".git").write_text(f"gitdir: {tmp_path / 'secret'}")
    assert commit(other) is None
