"""Take each protection out and see its test fail: python tests/protections.py [--jobs N] [CLASS ...]

Works on copies of the tree. One line a protection: the class of faults it is against, whether its test noticed, and the
test. Exit status 1 if one was not noticed, or its text is no longer in the file.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from protections_list import PROTECTIONS, Protection

_TIMEOUT = 120
ROOT = Path(__file__).parent.parent
_COPIED = ("nnkit", "conf", "tests", "docs", "benchmarks", "pyproject.toml", "README.md", "SECURITY.md")


def notices(protection: Protection, tree: Path) -> bool | None:
    """Return whether the test fails without the protection; None if the protection's text is not there.

    Args:
        protection: What to take out.
        tree: A copy of the tree, which is left as it was.
    """
    path = tree / protection.file
    text = path.read_text(encoding="utf-8")
    if text.count(protection.old) != 1:
        return None
    path.write_text(text.replace(protection.old, protection.new), encoding="utf-8")
    try:
        # What is tested is the copy, whatever is installed.
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-n",
            "0",
            "-p",
            "no:cacheprovider",
            protection.test,
        ]
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=_TIMEOUT
        )
    except subprocess.TimeoutExpired:
        # What is protected against is a hang.
        return True
    finally:
        path.write_text(text, encoding="utf-8")
    # 1: a test has failed. Anything else is no test that failed: none found, or an error of pytest's own.
    return done.returncode == 1


def copy_of_the_tree(folder: Path) -> Path:
    """Copy what the tests need to a new folder."""
    folder.mkdir()
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, folder / name)
    return folder


def main() -> int:
    """Take out every protection, or those against the classes named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "classes", nargs="*", metavar="CLASS", help="numbers of classes of faults; default: all"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="tests at a time (default: 1)")
    given = parser.parse_args()
    chosen = [one for one in PROTECTIONS if not given.classes or one.fault.split()[0] in given.classes]
    missed = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(given.jobs) as pool:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(given.jobs):
            trees.put(copy_of_the_tree(Path(folder) / f"nnkit{number}"))

        def noticed(protection: Protection) -> bool | None:
            tree = trees.get()
            try:
                return notices(protection, tree)
            finally:
                trees.put(tree)

        for protection, found in zip(chosen, pool.map(noticed, chosen), strict=True):
            missed += not found
            word = {True: "noticed", False: "NOT NOTICED", None: "NOT FOUND"}[found]
            print(f"{word:12} {protection.fault:55} {protection.test}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} protections are noticed when they are taken out")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
