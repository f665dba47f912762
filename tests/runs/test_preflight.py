"""What is checked before anything is written: each check once, in the stated order, the same for every command."""

import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from nnkit import config as configs
from nnkit.config.settle import settle
from nnkit.factory import soundness
from nnkit.factory.fence import missing
from nnkit.factory.trainer_checks import trainer_problems
from nnkit.factory.trial import try_all, try_trainer
from nnkit.runs import preflight, session, transfer
from nnkit.runs.optimization import check_optimizer
from nnkit.runs.run import Run

QUICK = ["data=iris", "model=mlp_small", "trainer.max_steps=2", "logger=[]", "callbacks=[checkpoint]"]
# In the order that the docstring of nnkit/runs/preflight.py states.
CHECKS = [
    configs.examine,
    settle,
    soundness.read_all,
    try_all,
    soundness.plain_problems,
    trainer_problems,
    try_trainer,
    missing,
    soundness.fact_problems,
    soundness.misfits,
    preflight.check_devices,
    preflight.check_output,
    transfer.source_of,
    transfer.prepare,
    session.make_session,
    check_optimizer,
    preflight.check_space,
    Run.create,
]


@contextmanager
def calls_of(functions):
    """Yield a list that gets the name of each of the functions when it is called."""
    codes = {getattr(function, "__func__", function).__code__ for function in functions}
    frames, names = [], []

    def note(frame, event, argument):
        # A generator is called once and entered often, with the same frame.
        if event == "call" and frame.f_code in codes and not any(frame is other for other in frames):
            frames.append(frame)
            names.append(frame.f_code.co_qualname)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield names
    finally:
        sys.setprofile(before)


def test_each_check_is_made_once_and_in_order_before_the_run_directory_is_made(cli):
    with calls_of(CHECKS) as names:
        code, _, err = cli("train", *QUICK)
    assert code == 0, err
    assert names == [check.__qualname__ for check in CHECKS]


WRONG = [
    ["optimizer.lr=-1", "seed=x"],
    ["optimizer.momentun=0.9"],
    ["model=lenet"],
    ["model=lenet5"],
    ["model.dropout=2"],
    ["task=regression"],
    ["loss=cross_entropy", "loss.class_weights=[1,2]"],
    ["monitor=val/acuracy"],
    ["trainer.max_steps=0", "trainer.devices=0"],
    ["trainer.precision=3"],
    ["callbacks.checkpoint.keep_last=-1"],
    ["+callbacks=lr_monitor"],
    ["data.num_classes=4"],
    ["name=a/b"],
    ["trainer.accelerator=mps"],
    ["init_from=nowhere"],
]


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_what_the_config_and_the_machine_tell_is_found_by_every_command(cli, words):
    _same_everywhere(cli, words, ["check"], ["train"], ["train", "-m", "trainer.num_threads=1,2"])


@pytest.mark.parametrize(
    "words",
    [
        ["data=csv", "data.path=nowhere.csv", "data.target=a"],
        ["trainer.limit_test_batches=0.001", "trainer.val_check_interval=1000"],
        ["+callbacks=early_stopping", "data.val_fraction=0"],
        ["freeze=[tail]"],
        ["scheduler=onecycle", "scheduler.total_steps=1"],
    ],
    ids=" ".join,
)
def test_what_data_and_network_tell_is_found_by_check_and_train(cli, words):
    _same_everywhere(cli, words, ["check"], ["train"])


def _same_everywhere(cli, words, *commands):
    said = [cli(*command, *QUICK, *words) for command in commands]
    code, _, err = said[0]
    assert code in (1, 2), err
    assert err
    for other in said[1:]:
        assert (other[0], other[2]) == (code, err)
    assert not list(Path().iterdir())
