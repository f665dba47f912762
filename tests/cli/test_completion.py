"""What TAB offers, and the script of each shell."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nnkit.cli.verbs import VERBS, completion
from nnkit.cli.verbs.completion import candidates
from nnkit.config import compose
from nnkit.config.catalog import conf_dir, defaults, groups, options
from nnkit.config.keys import all_keys
from nnkit.runs.run import Run


def offered(line):
    """Return the words offered at the end of a line."""
    return [candidate.word for candidate in candidates(line.split(" "))]


def test_every_verb_is_offered_with_what_it_does():
    found = {candidate.word: candidate.about for candidate in candidates([""])}
    assert set(found) == set(VERBS)
    assert all(found.values())
    assert offered("re") == ["resume", "report"]


def test_groups_and_plain_keys():
    filled = {f"{group}=" for group in groups() if options(group)}
    plain = {"seed=", "name=", "output_dir=", "auto_resume=", "report=", "monitor=", "init_from=", "freeze="}
    assert set(offered("train ")) == filled | plain
    assert offered("train mod") == ["model=", "model."]
    assert offered("check see") == ["seed="]


@pytest.mark.parametrize("group", [group for group in groups() if options(group)])
def test_options_are_the_files(group):
    files = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
    assert offered(f"train {group}=") == [f"{group}={name}" for name in files]


def test_the_last_of_several_options_is_completed():
    assert offered("train -m model=mlp,lenet5_1") == ["model=mlp,lenet5_1998"]
    assert offered("train callbacks=[checkpoint,em") == ["callbacks=[checkpoint,ema"]
    assert offered("train +callbacks=em") == ["+callbacks=ema"]
    assert offered("train ~callbacks.nan") == ["~callbacks.nan_guard."]


def all_offered(line, prefix):
    """Follow every key that ends in a dot."""
    found = set()
    for word in offered(f"{line} {prefix}"):
        found |= all_offered(line, word) if word.endswith(".") else {word.removesuffix("=")}
    return found


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["model=mlp_3b1b"],
        ["data=diabetes"],
        ["model=lenet5_1998", "loss=focal", "scheduler=cosine"],
        ["+callbacks=ema"],
        ["callbacks=[early_stopping]"],
        ["data=digits", "model=mlp"],
    ],
    ids=" ".join,
)
def test_keys_are_those_of_the_composed_config(words):
    line = " ".join(["train", *words])
    config = compose(words).config
    declared = {"kind", "takes", "fits", "targets"}
    for group in groups():
        if defaults()[group] is None:
            continue
        nodes = {key.rpartition(".")[0] for key in all_keys(config)}
        composed = {
            key
            for key in all_keys(config)
            if key.startswith(f"{group}.")
            and key not in nodes
            and not key.rpartition(".")[2].startswith("_")
            and key.split(".")[1] not in declared
        }
        found = all_offered(line, f"{group}.")
        # The embeds of other kinds are cut out of a composed config.
        assert composed <= found
        assert {key for key in found - composed if not key.startswith("model.embeds.")} == set()


def test_values():
    assert offered("train data.augment.flip=") == ["data.augment.flip=true", "data.augment.flip=false"]
    assert offered("train optimizer.lr=") == ["optimizer.lr=0.003"]
    # A default that is a reference, and one that is null, say nothing.
    assert offered("train data.seed=") == offered("train data.root=") == []


def test_files_of_ones_own_are_offered_and_broken_ones_do_no_harm():
    Path("conf/model").mkdir(parents=True)
    Path("conf/model/zebra.yaml").write_text("# Striped.\nstripes: 3\n")
    Path("conf/model/broken.yaml").write_text("a: [")
    assert offered("train model=z") == ["model=zebra"]
    assert offered("train model=zebra model.") == ["model.stripes="]
    assert offered("train model=broken model.") == []
    Path("more/loss").mkdir(parents=True)
    Path("more/loss/hinge.yaml").write_text("margin: 1\n")
    assert offered("train --config-dir more loss=hi") == ["loss=hinge"]


def test_runs_newest_first_and_only_unfinished_ones_to_resume():
    for number, status in enumerate(("done", "stopped")):
        run = Run.create(Path("outputs"), "m-d", f"run{number}")
        (run.path / "config.yaml").write_text("{}")
        run.update(status=status, start=f"2026-01-0{number + 1}")
    assert offered("test ") == ["last", "run1", "run0"]
    assert offered("resume ") == ["last", "run1"]
    assert offered("predict outputs/run0") == ["outputs/run0"]
    assert offered("predict last ") == []
    assert offered("test --output-dir elsewhere ") == ["last"]
    assert offered("train init_from=run") == ["init_from=run1", "init_from=run0"]


def test_the_other_verbs():
    assert offered("show model/lenet5_") == ["model/lenet5_1998"]
    assert offered("list call") == ["callbacks"]
    assert offered("completion ") == ["bash", "zsh", "fish"]
    assert offered("nonsense ") == []


@pytest.mark.parametrize("verb", VERBS)
def test_flags_are_those_of_the_verbs_help(verb, cli):
    code, out, err = cli(verb, "--help")
    assert (code, err) == (0, "")
    listed = set(re.findall(r"(?m)^    (--?[a-z][\w-]*)|(?<=, )(--[a-z][\w-]+)", out))
    assert {word for word in offered(f"{verb} -") if word.startswith("--")} <= {max(pair) for pair in listed}
    assert {"-h", "--help"} <= set(offered(f"{verb} -"))


def test_values_of_flags():
    assert offered("compare --format ") == ["table", "csv", "json", "markdown"]
    assert offered("compare --format=j") == ["--format=json"]
    assert offered("train --cfg j") == ["job"]
    # A file is the shell's to complete.
    assert offered("compare --output ") == []
    assert offered("train --cfg job mod") == ["model=", "model."]


def in_bash(line):
    """Complete a line as an interactive bash does, which takes what stands after an = for a word of its own."""
    script = f"""
        nnkit() {{ {sys.executable} -m nnkit "$@"; }}
        eval "$(nnkit completion bash)"
        COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
        COMP_LINE=$1 COMP_POINT=${{#1}} COMP_WORDS=($1) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _nnkit
        printf '%s|' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script, "bash", line],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(completion.__file__).parents[2])},
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nnkit tra", "train |"),
        ("nnkit train mode", "model=|model.|"),
        ("nnkit train model=lenet5_", "lenet5_1998 |"),
        ("nnkit train callbacks=[checkpoint,em", "[checkpoint,ema|"),
        ("nnkit train optimizer.weight", "optimizer.weight_decay=|"),
        ("nnkit completion ", "bash |zsh |fish |"),
        ("nnkit predict last x", "|"),
    ],
)
def test_bash_completes(line, words):
    assert in_bash(line) == words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_parses_in_its_shell(cli, shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(cli("completion", shell)[1])
    assert script.read_text().count("nnkit") > 2
    subprocess.run([shell, "-n", str(script)], check=True)


def test_another_shell_is_refused(cli):
    code, _, err = cli("completion", "tcsh")
    assert code == 2
    assert "fish" in err
