"""FAULTS class 21: whatever is typed or stands in a file, a mistake is a sentence, exit 2, and nothing is written.

The suite runs a fixed number of fixed examples. More of them, new ones each time, and the one that fails made smaller:

    NNKIT_FUZZ=20 python -m pytest tests/test_fuzz.py
"""

import io
import logging
import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import nnkit
from nnkit import cli
from nnkit.cli.verbs import VERBS as EVERY_VERB
from nnkit.config import catalog
from nnkit.config.keys import all_keys

pytestmark = pytest.mark.slow

MORE = int(os.environ.get("NNKIT_FUZZ", "1"))
BASE = ["data=iris", "model=mlp"]


def fuzz(examples):
    return settings(
        max_examples=examples * MORE,
        derandomize=MORE == 1,
        phases=[Phase.generate] if MORE == 1 else list(Phase),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, made once."""
    folder = tmp_path_factory.mktemp("finished")
    words = [*BASE, "model.hidden=[4]", "trainer.max_steps=2", "name=run", f"output_dir={folder}"]
    return nnkit.train([*words, "callbacks=[checkpoint]", "logger=[]"]).run.path


@pytest.fixture
def answer(tmp_path, finished):
    """Run a command line beside the finished run: returns its exit code and standard error.

    What is not answered with an exit code fails the test as it is.
    """
    shutil.copytree(finished, tmp_path / "outputs" / "run")

    def run(*words):
        before = sys.stdout, sys.stderr
        # As Python opens them for a process of its own.
        sys.stdout = io.TextIOWrapper(io.BytesIO(), "utf-8", "strict")
        sys.stderr = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
        try:
            code = cli.main(list(words))
        except SystemExit as leaving:
            code = leaving.code
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            err = sys.stderr.buffer.getvalue().decode()
            sys.stdout, sys.stderr = before
            for handler in list(logging.getLogger("nnkit").handlers):
                logging.getLogger("nnkit").removeHandler(handler)
        assert "Traceback" not in err
        return code, err

    return run


@pytest.fixture
def unchanged(tmp_path):
    """Assert that no file was written, changed or deleted since the test began."""

    def look():
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")}

    before = {}

    def check():
        assert look() == (before or look())
        before.update(look())

    check()
    return check


# ------------------------------------------------------------------------------------------------------------ words

KEYS = all_keys(nnkit.compose(BASE).config)
VALUES = [key for key in KEYS if "." in key and not any(other.startswith(f"{key}.") for other in KEYS)]
GROUPS = catalog.groups()
# Any text a shell can hand over, bytes that are no text included; a dash in front makes a flag.
TEXTS = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.just("\udcff"), max_size=12
)
WORDS = TEXTS.filter(lambda text: text.strip() and not text.startswith("-") and "=" not in text)


@st.composite
def misspelt(draw, words):
    """Return a word with one letter lost, doubled, swapped or replaced."""
    word = draw(st.sampled_from(words))
    place = draw(st.integers(0, len(word) - 1))
    letter = draw(st.sampled_from("aeqxz"))
    changes = [
        word[:place] + word[place + 1 :],
        word[:place] + word[place] + word[place:],
        word[:place] + letter + word[place + 1 :],
        word[: place - 1] + word[place] + word[place - 1] + word[place + 1 :] if place else word + letter,
    ]
    return draw(st.sampled_from(changes))


def is_unknown_key(key):
    inner = key.split(".")
    return key not in KEYS and key not in GROUPS and all(inner) and inner[0] not in ("hydra", "fit")


def is_unknown_option(choice):
    group, _, option = choice.partition("=")
    return option not in catalog.options(group) and option.isidentifier() and option != "null"


LETTERS = st.text("qwxyz", min_size=1, max_size=6)
NUMBERS = [
    "optimizer.lr",
    "optimizer.eps",
    "data.batch_size",
    "trainer.log_every_n_steps",
    "seed",
    "model.dropout",
]
RANGES = {
    "optimizer.lr": st.floats(max_value=-1e-6, allow_nan=False, allow_infinity=False),
    "data.batch_size": st.integers(-(2**70), 0) | st.integers(2**63, 2**80),
    "data.val_fraction": st.floats(1, 1e6) | st.floats(-1e6, -1e-6),
    "data.num_workers": st.integers(-100, -1) | st.integers(1025, 2**70),
    "model.dropout": st.floats(1, 1e6) | st.floats(-1e6, -1e-6),
    "model.hidden": st.lists(st.integers(-100, 0), min_size=1, max_size=3),
    "trainer.max_epochs": st.integers(-(2**70), -2) | st.just(0),
    "trainer.max_steps": st.integers(-(2**70), -2) | st.just(0),
    "trainer.num_threads": st.integers(-100, 0) | st.integers(1025, 2**70),
    "trainer.precision": LETTERS,
    "trainer.accelerator": LETTERS,
    "trainer.devices": st.integers(-100, 0).filter(lambda count: count != -1),
    "optimizer.betas": st.lists(st.floats(0, 0.9), max_size=5).filter(lambda betas: len(betas) != 2),
    "loss.label_smoothing": st.floats(1.001, 1e6),
    "loss.class_weights": st.lists(st.floats(0, 9), max_size=9).filter(lambda weights: len(weights) != 3),
    "scheduler.pct_start": st.floats(1.001, 1e6),
    "seed": st.integers(-(2**70), -1) | st.integers(2**32, 2**80),
    "monitor": st.sampled_from(["val/acuracy", "accuracy", "train/loss", "val/"]),
    "name": st.sampled_from(["../x", "a/b", "/x", "..", ".", "last", "''", "a\nb", "-x"]),
}
# Each is a mistake whatever stands beside it.
MISTAKES = st.one_of(
    misspelt(KEYS).filter(is_unknown_key).map(lambda key: f"{key}=1"),
    misspelt(KEYS).filter(is_unknown_key).map(lambda key: f"~{key}"),
    st.sampled_from(GROUPS)
    .flatmap(
        lambda group: misspelt([f"{group}={name}" for name in catalog.options(group)] or [f"{group}=none"])
    )
    .filter(lambda choice: choice.partition("=")[0] in GROUPS and is_unknown_option(choice)),
    st.builds("{}={}".format, st.sampled_from(NUMBERS), LETTERS),
    st.sampled_from(list(RANGES)).flatmap(
        lambda key: RANGES[key].map(lambda value: f"{key}={value}".replace(" ", ""))
    ),
    st.builds(
        "{}={}{}".format,
        st.sampled_from(VALUES),
        st.sampled_from(["[", "{", "'", '"', "[1,", "{a:"]),
        LETTERS,
    ),
    st.builds("{0}={1} {0}={2}".format, st.just("optimizer"), st.just("sgd"), st.just("adam")),
    WORDS,
    st.sampled_from(
        ["model=", "=", "=3", "~", "+", "++", "hydra.run.dir=x", "+hydra.x=1", "model@x=mlp", "a=b=c"]
    ),
    st.just("x" * 5000),
)
RIGHT = st.lists(
    st.sampled_from(
        [
            "optimizer.weight_decay=0.1",
            "optimizer.amsgrad=true",
            "model.activation=tanh",
            "data.split_seed=3",
            "data.eval_batch_size=7",
            "trainer.gradient_clip_val=1",
            "+callbacks=ema",
            "~callbacks.progress",
            "scheduler=constant",
            "logger=[]",
            "trainer.limit_val_batches=0.5",
            "callbacks.checkpoint.keep_last=3",
            "auto_resume=false",
            "init_from=null",
        ]
    ),
    unique=True,
    max_size=4,
)


def in_some_order(right, wrong):
    # A mistake may be two words that do not go together.
    parts = [
        word for text in wrong for word in (text.split(" ") if text.startswith("optimizer=") else [text])
    ]
    return st.permutations([*BASE, *right, *parts])


LINES = st.tuples(RIGHT, st.lists(MISTAKES, min_size=1, max_size=2)).flatmap(
    lambda both: in_some_order(*both)
)


@fuzz(70)
@given(verb=st.sampled_from(["train", "train", "check", "summary"]), words=LINES)
def test_a_mistake_on_a_command_line_is_said_and_nothing_is_written(answer, unchanged, verb, words):
    code, err = answer(verb, *words)
    assert code == 2, (words, err)
    assert err.startswith("nnkit: "), (words, err)
    unchanged()


@fuzz(15)
@given(words=RIGHT.flatmap(lambda right: st.permutations([*BASE, *right])))
def test_a_line_without_a_mistake_composes(answer, unchanged, words):
    code, err = answer("train", "--cfg", "job", *words)
    assert code == 0, (words, err)
    unchanged()


REFERENCES = [
    "${oc.env:HOME}",
    "${oc.decode:'[1'}",
    "${hydra:runtime.cwd}",
    "${nothing}",
    "${seed}",
    "${",
    "???",
]
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | TEXTS
    | st.sampled_from(
        [*REFERENCES, "${data.num_classes}", "${model}", "torch.nn.Linear", "0x1f", "1e999", "1_000"]
    )
)
DATA = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab") | TEXTS, inner, max_size=3)
    ),
    max_leaves=6,
)


@fuzz(40)
@given(key=st.sampled_from(VALUES), sign=st.sampled_from(["", "", "+", "++"]), value=DATA)
def test_any_value_of_any_key_is_taken_or_refused(answer, unchanged, key, sign, value):
    code, err = answer("summary", *BASE, f"{sign}{key}={value}")
    assert code in (0, 2), err
    unchanged()


# ------------------------------------------------------------------------------------------------------------ verbs

FLAGS = st.builds("--zq{}".format, LETTERS)
RUNS = WORDS.filter(lambda text: not "run".startswith(text)) | st.just("x" * 5000)
ITEMS = [Path(name) for name in (".", "/dev/null", "outputs/run/run.json", "outputs/run/checkpoints")]
VERBS = st.one_of(
    misspelt(list(EVERY_VERB)).filter(lambda verb: verb and verb not in EVERY_VERB).map(lambda verb: [verb]),
    st.tuples(st.sampled_from(list(EVERY_VERB)), FLAGS).map(list),
    st.tuples(st.sampled_from(["test", "resume"]), RUNS).map(list),
    st.tuples(st.just("predict"), RUNS, WORDS).map(list),
    st.tuples(st.just("predict"), st.just("run"), WORDS).map(list),
    st.tuples(st.just("predict"), st.just("run"), st.sampled_from(ITEMS).map(str)).map(list),
    st.tuples(
        st.just("predict"), st.just("run"), st.just("x"), st.just("--top-k"), LETTERS | st.just("0")
    ).map(list),
    st.tuples(st.just("list"), WORDS.filter(lambda word: word not in GROUPS)).map(list),
    st.tuples(st.sampled_from(["show", "copy"]), WORDS.filter(lambda word: word != "train")).map(list),
    st.tuples(st.just("show"), st.sampled_from(GROUPS), WORDS).map(
        lambda words: ["show", f"{words[1]}/{words[2]}"]
    ),
    st.tuples(st.just("copy"), st.just("model/mlp"), WORDS.filter(lambda word: not word.isidentifier())).map(
        list
    ),
    st.tuples(st.just("completion"), LETTERS).map(list),
    st.tuples(st.just("train"), st.sampled_from(["--config-dir", "--cfg"]), WORDS).map(list),
    st.tuples(st.sampled_from(["check", "show", "list"]), st.just("--config-dir")).map(list),
)


@fuzz(150)
@given(words=VERBS)
def test_a_mistake_in_any_verb_is_said_and_nothing_is_written(answer, unchanged, words):
    code, err = answer(*words)
    assert code == 2, (words, err)
    assert err
    unchanged()


@fuzz(25)
@given(words=st.lists(MISTAKES, min_size=1, max_size=2))
def test_a_mistake_in_what_resume_is_to_change_leaves_the_run_as_it_is(answer, unchanged, words):
    code, err = answer("resume", "run", *(part for word in words for part in word.split(" ") if part))
    assert code == 2, (words, err)
    unchanged()


# ----------------------------------------------------------------------------------------------------- option files

NAMES = st.sampled_from(
    [*GROUPS, *catalog.plain_keys(), "_target_", "defaults", "embeds", "kind", "lr", "hydra"]
)
FILES = st.one_of(
    st.text(max_size=60).map(str.encode),
    st.binary(max_size=60),
    st.dictionaries(NAMES | TEXTS, DATA, max_size=4).map(
        lambda data: yaml.safe_dump(data, allow_unicode=True).encode()
    ),
    st.lists(st.dictionaries(NAMES, NAMES | DATA, max_size=2) | NAMES | DATA, max_size=3).map(
        lambda entries: yaml.safe_dump({"defaults": entries}, allow_unicode=True).encode()
    ),
    st.tuples(st.sampled_from(["_global_", "hydra", "a.b", "@", ""]), NAMES).map(
        lambda pair: f"# @package {pair[0]}\n{pair[1]}: {{a: 1}}\n".encode()
    ),
)


@fuzz(45)
@given(group=st.sampled_from(["experiment", "model", "data", "callbacks", "optimizer"]), content=FILES)
def test_any_option_file_is_taken_or_refused(answer, tmp_path, group, content):
    path = tmp_path / "conf" / group / "fuzz.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    try:
        chosen = f"{group}=[fuzz]" if group in catalog.lists() else f"{group}=fuzz"
        for verb in (["summary"], ["list", group], ["show", f"{group}/fuzz"]):
            code, err = answer(*verb, *([chosen] if verb == ["summary"] else []))
            assert code in (0, 2), (content, err)
    finally:
        path.unlink()


@fuzz(12)
@given(
    # What else a model might take is its own affair.
    key=misspelt([key for key in KEYS if not key.startswith("model.embeds")]).filter(is_unknown_key),
    value=st.integers(),
)
def test_an_unknown_key_in_an_option_file_is_named(answer, tmp_path, key, value):
    path = tmp_path / "conf" / "experiment" / "fuzz.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = value
    for name in reversed(key.split(".")):
        content = {name: content}
    path.write_text("# @package _global_\n" + yaml.safe_dump(content))
    code, err = answer("summary", *BASE, "experiment=fuzz")
    assert code == 2, (key, err)
