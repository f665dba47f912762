import pytest

from nnkit.data.pictures.listing import find_pictures, list_classes, summary
from nnkit.errors import UserError


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return folder


def names(paths, folder):
    return [path.relative_to(folder).as_posix() for path in paths]


def left_out(found, folder):
    return {why: names(paths, folder) for why, paths in found.left_out.items()}


def test_pictures_are_sorted_and_the_rest_is_counted_but_the_hidden(tmp_path):
    hidden = (".hidden.png", ".cache/d.png", "Thumbs.db", "__MACOSX/._a.png")
    touch(
        tmp_path, "b.png", "a.JPG", "sub/c.webp", "sub/d.jfif", "notes.txt", "sub/e.HEIC", "LICENSE", *hidden
    )
    found = find_pictures(tmp_path)
    assert names(found.pictures, tmp_path) == ["a.JPG", "b.png", "sub/c.webp", "sub/d.jfif"]
    assert left_out(found, tmp_path) == {
        ".txt files, which are not read": ["notes.txt"],
        ".heic files, which are not read": ["sub/e.HEIC"],
        "files without a suffix, which are not read": ["LICENSE"],
    }


def test_linked_folders_and_files_are_read_once(tmp_path):
    touch(tmp_path, "far/1.png", "far/deep/2.png", "near/3.png")
    (tmp_path / "near/a-link").symlink_to(tmp_path / "far")
    (tmp_path / "near/b-link").symlink_to(tmp_path / "far/deep")
    (tmp_path / "near/4.png").symlink_to(tmp_path / "far/1.png")
    found = find_pictures(tmp_path / "near")
    assert names(found.pictures, tmp_path / "near") == ["3.png", "4.png", "a-link/1.png", "a-link/deep/2.png"]
    assert list(left_out(found, tmp_path / "near").values()) == [["b-link"]]
    (tmp_path / "root").symlink_to(tmp_path / "near")
    assert names(find_pictures(tmp_path / "root").pictures, tmp_path / "root")[0] == "3.png"


def test_a_folder_comes_before_a_link_to_it(tmp_path):
    touch(tmp_path, "z/1.png")
    (tmp_path / "a").symlink_to(tmp_path / "z")
    assert names(find_pictures(tmp_path).pictures, tmp_path) == ["z/1.png"]


def test_circles_of_links_end_and_links_without_a_target_are_said(tmp_path):
    touch(tmp_path, "one/1.png", "two/2.png")
    (tmp_path / "one/other").symlink_to(tmp_path / "two")
    (tmp_path / "two/other").symlink_to(tmp_path / "one")
    (tmp_path / "one/up").symlink_to(tmp_path)
    (tmp_path / "one/self.png").symlink_to(tmp_path / "one/self.png")
    (tmp_path / "one/gone.png").symlink_to(tmp_path / "gone.png")
    found = find_pictures(tmp_path / "one")
    assert names(found.pictures, tmp_path / "one") == ["1.png", "other/2.png"]
    assert left_out(found, tmp_path / "one") == {
        "links to folders that are read already or lie around": ["other/other", "up"],
        "names of pictures without a file behind them": ["gone.png", "self.png"],
    }


def classes_of(listing, split):
    return [listing.names[row] for row in listing.parts[split].tolist()]


def test_linked_class_folders_are_classes_but_not_one_that_leads_back(tmp_path):
    touch(tmp_path, "far/1.png", "root/a/2.png", "root/a/3.png")
    (tmp_path / "root/b").symlink_to(tmp_path / "far")
    (tmp_path / "root/c").symlink_to(tmp_path / "root")
    (tmp_path / "far/back").symlink_to(tmp_path / "root")
    listing = list_classes(tmp_path / "root")
    assert listing.class_names == ["a", "b"]
    assert classes_of(listing, "train") == ["a/2.png", "a/3.png", "b/1.png"]
    assert listing.targets.tolist() == [0, 0, 1]
    assert listing.left_out == {"links to folders that are read already or lie around": ["b/back", "c"]}


def test_every_usual_name_of_a_split_is_one(tmp_path):
    for number, split in enumerate(("Training", "dev", "valid", "validation", "testing")):
        touch(tmp_path, f"{split}/a/{number}.png", f"{split}/b/{number}.png")
    listing = list_classes(tmp_path)
    assert {split: classes_of(listing, split) for split in listing.parts} == {
        "train": ["Training/a/0.png", "Training/b/0.png"],
        "val": [
            f"{name}/{label}/{row}.png"
            for label in "ab"
            for row, name in enumerate(("dev", "valid", "validation"), 1)
        ],
        "test": ["testing/a/4.png", "testing/b/4.png"],
    }
    assert listing.targets.tolist() == [0, 1, 0, 0, 0, 1, 1, 1, 0, 1]
    assert listing.left_out == {}


def test_what_is_not_used_is_one_line(tmp_path):
    touch(tmp_path, "train/a/1.png", "train/b/2.png", "train/c/3.heic", "train/loose.png", "readme.txt")
    touch(tmp_path, "extra/a/5.png", "top.jpg", "val/x.png", *(f"test/a/{number}.cr2" for number in range(5)))
    listing = list_classes(tmp_path)
    assert summary(listing.left_out) == (
        "folders beside train that are no split: 1 (extra); "
        "pictures outside of class folders: 3 (top.jpg, train/loose.png, val/x.png); "
        ".cr2 files, which are not read: 5 (test/a/0.cr2, test/a/1.cr2, test/a/2.cr2 and 2 more); "
        "class folders without pictures: 2 (test/a, train/c); .heic files, which are not read: 1 (train/c/3.heic)"
    )


def test_an_error_tells_what_was_there_instead(tmp_path):
    touch(tmp_path, "a/1.heic", "b/2.heic", "b/3.jpg")
    with pytest.raises(
        UserError, match=r"one class only, b; .*\n    not used: \.heic files, .*: 2 \(a/1.heic, b/2"
    ):
        list_classes(tmp_path)


def test_splits_have_folders_of_their_own_even_inside_a_class(tmp_path):
    touch(
        tmp_path,
        "all/a/1.png",
        "all/b/2.png",
        "all/a/held out/a/3.png",
        "far/b/4.png",
        "far/b/5.heic",
        "far/6.png",
    )
    listing = list_classes(tmp_path / "all", {"val": tmp_path / "far", "test": tmp_path / "all/a/held out"})
    assert {split: classes_of(listing, split) for split in listing.parts} == {
        "train": ["a/1.png", "b/2.png"],
        "val": ["val_path/b/4.png"],
        "test": ["test_path/a/3.png"],
    }
    assert listing.targets.tolist() == [0, 1, 1, 0]
    assert sorted(listing.left_out.values()) == [["val_path/6.png"], ["val_path/b/5.heic"]]
    touch(tmp_path, "split/train/a/1.png", "split/test/a/1.png")
    for folder, own, message in (
        ("split", {"test": tmp_path / "far"}, r"data.test_path: .*split holds test already: leave one out"),
        ("all", {"val": tmp_path / "all"}, r"two of data.root, data.val_path are the same folder"),
        ("all", {"val": tmp_path / "none"}, r"data.val_path: there is no folder .*none"),
    ):
        with pytest.raises(UserError, match=message):
            list_classes(tmp_path / folder, own)
