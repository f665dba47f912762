"""Take each protection out and see its test fail: python tests/protections.py [CLASS ...]

Works on a copy of the tree. One line a protection: the class of faults it is against, whether its test noticed, and the
test. Exit status 1 if one was not noticed, or its text is no longer in the file.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
_COPIED = ("nnkit", "conf", "tests", "docs", "benchmarks", "pyproject.toml", "README.md", "SECURITY.md")


class Protection(NamedTuple):
    """One protection.

    Attributes:
        fault: What it is against.
        file: Where it stands.
        old: The text that is it, once in the file.
        new: What stands there without it.
        test: The test that must then fail.
    """

    fault: str
    file: str
    old: str
    new: str
    test: str


KILLED = "tests/faults/test_killed_anywhere.py"
SHARING = "tests/faults/test_sharing.py"
OTHER = "tests/faults/test_other_checkpoints.py"
PROTECTIONS = (
    Protection(
        "1 kill: generators restored",
        "nnkit/callbacks/state.py",
        'set_generator_states(self._restored["generators"])',
        "pass",
        f"{KILLED}::test_three_kills_inside_one_epoch_and_one_in_each_other",
    ),
    Protection(
        "2 kill in validation: log cut back to the checkpoint",
        "nnkit/fit.py",
        'record.cut_back(state[KEY]["num_lines"], step)',
        "record.cut_back(10**9, step)",
        f"{KILLED}::test_a_kill_there_changes_nothing",
    ),
    Protection(
        "2 kill inside a window: gradients saved",
        "nnkit/callbacks/state.py",
        "if in_window(trainer):",
        "if False:",
        "tests/test_exactness.py::test_every_point_resumes_exactly",
    ),
    Protection(
        "2 kill after early stopping: remembered",
        "nnkit/callbacks/state.py",
        '"stopped": trainer.should_stop',
        '"stopped": False',
        "tests/test_exactness.py::test_every_point_resumes_exactly",
    ),
    Protection(
        "2 kill in start-up: the name is free again",
        "nnkit/run.py",
        "path.mkdir(exist_ok=cls(path).is_shell())",
        "path.mkdir(exist_ok=False)",
        "tests/test_resuming.py::test_a_start_that_was_killed_leaves_no_name_taken",
    ),
    Protection(
        "5 signal: the finished step is saved",
        "nnkit/callbacks/signals.py",
        "                checkpointing.save(trainer)\n",
        "",
        f"{KILLED}::test_the_step_in_which_a_signal_comes_is_finished_and_saved",
    ),
    Protection(
        "9 checkpoint of another config",
        "nnkit/resuming.py",
        "        check_belongs(run, config, newest)\n",
        "        pass\n",
        f"{OTHER}::test_a_checkpoint_of_another_config_is_refused_with_the_difference",
    ),
    Protection(
        "9 checkpoint of a newer release",
        "nnkit/checkpoint/formats.py",
        'if ours["format"] > FORMAT:',
        "if False:",
        f"{OTHER}::test_a_checkpoint_of_a_newer_release_is_refused_by_name_and_the_older_one_used",
    ),
    Protection(
        "9 weights of another shape",
        "nnkit/resuming.py",
        "        _check_weights(run, session, newest)\n",
        "        pass\n",
        f"{OTHER}::test_weights_of_another_shape_are_refused_by_name",
    ),
    Protection(
        "24 one directory, two processes",
        "nnkit/run.py",
        """raise UserError(f"{self.path} is in use by process {self.record().get('pid', '?')}") from error""",
        "pass",
        "tests/test_run.py::test_a_run_is_held_by_one_process",
    ),
    Protection(
        "24 three runs in one second",
        "nnkit/run.py",
        "{stamp}-{secrets.token_hex(2)}",
        "{stamp[:10]}",
        f"{SHARING}::test_runs_of_one_second_have_directories_of_their_own",
    ),
)


def notices(protection: Protection, tree: Path) -> bool | None:
    """Say whether the test fails without the protection; None if the protection's text is not there.

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
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", protection.test]
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    finally:
        path.write_text(text, encoding="utf-8")
    # 1: a test has failed. Anything else is no test that failed: none found, or an error of pytest's own.
    return done.returncode == 1


def main() -> int:
    """Take out every protection, or those against the classes named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "classes", nargs="*", metavar="CLASS", help="numbers of classes of faults; default: all"
    )
    wanted = parser.parse_args().classes
    chosen = [one for one in PROTECTIONS if not wanted or one.fault.split()[0] in wanted]
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "nnkit"
        tree.mkdir()
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy(source, tree / name)
        for protection in chosen:
            noticed = notices(protection, tree)
            missed += not noticed
            word = {True: "noticed", False: "NOT NOTICED", None: "NOT FOUND"}[noticed]
            print(f"{word:12} {protection.fault:55} {protection.test}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} protections are noticed when they are taken out")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
