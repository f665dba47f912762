"""The files of a run, looked for where it was begun."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from nnkit.data.locating import fingerprint_of, look_in, refuse_missing
from nnkit.errors import UserError


@pytest.fixture
def begun():
    """Return a folder with files, another one than the working directory."""
    folder = Path("there").absolute()
    (folder / "parts").mkdir(parents=True)
    for name in ("rows.csv", "parts/1.csv", "both.csv"):
        (folder / name).write_text(name)
    Path("both.csv").write_text("here")
    return folder


def test_relative_paths_lead_to_where_the_run_was_begun_if_something_is_there(begun):
    data = SimpleNamespace(
        path="rows.csv",
        train_path="parts/*.csv",
        root=["both.csv", "nowhere.csv"],
        val_path=None,
        text="rows.csv",
        target_path=str(Path("both.csv").absolute()),
    )
    look_in(data, begun)
    assert data.path == str(begun / "rows.csv")
    assert data.train_path == str(begun / "parts/*.csv")
    # What the run was trained on, and not what is called the same here.
    assert data.root == [str(begun / "both.csv"), "nowhere.csv"]
    assert (data.val_path, data.text) == (None, "rows.csv")
    assert data.target_path == str(Path("both.csv").absolute())


@pytest.mark.parametrize("place", [".", "gone"])
def test_paths_stay_as_typed_in_the_same_directory_and_where_it_is_gone(begun, place):
    data = SimpleNamespace(path="both.csv")
    look_in(data, Path(place).absolute())
    assert data.path == "both.csv"


def test_a_missing_file_is_refused_with_the_places_and_what_to_type(begun):
    refuse_missing(SimpleNamespace(path="both.csv", root=None), begun, "type this")
    with pytest.raises(UserError) as caught:
        refuse_missing(SimpleNamespace(path="lost.csv"), begun, "type this")
    assert (
        str(caught.value) == f"data.path: there is no lost.csv in {Path.cwd()} and in {begun}\n    type this"
    )


def test_a_folder_has_another_fingerprint_if_a_file_in_it_has_another_size(begun):
    before = fingerprint_of(begun)
    (begun / "parts/1.csv").write_text("longer than it was")
    assert fingerprint_of(begun) != before
    assert fingerprint_of(begun / "rows.csv") == fingerprint_of(begun / "rows.csv")
