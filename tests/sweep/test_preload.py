"""What a trial need not do for itself: import what all trials need, and compose what is composed already."""

import ast
import pickle
import subprocess
import sys

from nnkit import config as configs
from nnkit.config import composition
from nnkit.sweep.directory import Definition, Request
from nnkit.sweep.plan import examine_trials
from nnkit.sweep.pool import Pool
from nnkit.sweep.space import Space, grid, read_space
from nnkit.sweep.trials import Trial

_TRIAL = """
import sys
import nnkit.sweep.preload
import nnkit.analysis.report.ending, nnkit.api
before = set(sys.modules)
words = ["data=iris", "model=mlp_small", "trainer.max_steps=1", "logger=[]", "report=false", "trainer.num_threads=1"]
nnkit.api.train(words, show=False)
print(sorted(set(sys.modules) - before))
"""


def test_a_trial_imports_next_to_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _TRIAL], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    new = ast.literal_eval(done.stdout.splitlines()[-1])
    assert len(new) < 10, new
    assert not [name for name in new if name.startswith(("pandas", "pyarrow", "nnkit", "lightning"))]


def test_a_trial_is_sent_what_its_words_come_to(monkeypatch, tmp_path):
    sent = []
    pool = Pool([(1,)])
    monkeypatch.setattr(pool, "_fork", sent.append)
    definition = Definition(("model=mlp_small", "data=iris"), ("seed=3,4",), False, "val/loss", "min", 1)
    pool.start(Request(tmp_path, Trial("seed=3", ("seed=3",)), definition))
    pool._free.append(None)
    pool.start(Request(tmp_path, Trial("wrong", ("optimizer.lrr=1",)), definition))
    (found, problems), (_, wrong) = sent[0].composed, pickle.loads(pickle.dumps(sent[1])).composed
    assert found.config.seed == 3
    assert found.choices["model"] == "mlp_small"
    assert found.typed_keys == {"model", "data", "seed"}
    assert problems == []
    assert [problem.key for problem in wrong] == ["optimizer.lrr"]
    assert sent[0].gpus == (1,)


def test_option_files_are_composed_once_for_all_trials_that_choose_the_same(monkeypatch, tmp_path):
    loaded, load = [], composition._load_files
    monkeypatch.setattr(
        composition, "_load_files", lambda lines, where: loaded.append(lines) or load(lines, where)
    )
    pool = Pool([None] * 4)
    monkeypatch.setattr(pool, "_fork", lambda request: None)
    words = ("model=mlp_small", "data=iris", "callbacks=[]", "logger=[]")
    axes = ("optimizer=adam,sgd", "seed=1,2")
    definition = Definition(words, axes, False, "val/loss", "min", 1)
    # None of what other tests have loaded.
    token = composition._LOADED.set(None)
    with configs.loading_once():
        examine_trials(Space(words, read_space(axes).axes), False, None)
        for trial in grid(read_space(axes).axes):
            pool.start(Request(tmp_path, trial, definition))
    composition._LOADED.reset(token)
    chosen = [next(word for word in lines if word.startswith("optimizer=")) for lines in loaded]
    assert sorted(chosen) == ["optimizer=adam", "optimizer=sgd"]
