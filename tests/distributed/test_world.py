"""Where a process stands, as torchrun, SLURM and nnkit tell it; and what does not fit is refused."""

import os
import signal
import threading
from contextlib import suppress

import pytest
import together

from nnkit.distributed.group import join
from nnkit.distributed.world import World, first_of, read_world, unfit, without_place
from nnkit.errors import UserError
from nnkit.machine import signals

TORCHRUN = {
    **{"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "1"},
    **{"MASTER_ADDR": "node7", "MASTER_PORT": "29500"},
}
# What a command of a batch script has, for two machines of two tasks (SLURM 22.05), and what one has that srun starts.
BATCH = {
    **{"SLURM_JOB_ID": "2007", "SLURM_JOB_NODELIST": "node[07-08]", "SLURM_JOB_NAME": "train"},
    **{
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
        "SLURM_NTASKS": "4",
        "SLURM_NNODES": "2",
    },
}
SLURM = {
    **{**BATCH, "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_STEP_ID": "0"},
    **{"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NODELIST": "node[07-08]"},
}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        (TORCHRUN, World(3, 4, 1, 2, 1, "node7", 29500, "torchrun", "0")),
        (
            {**TORCHRUN, "TORCHELASTIC_RESTART_COUNT": "2"},
            World(3, 4, 1, 2, 1, "node7", 29500, "torchrun", "2"),
        ),
        ({**TORCHRUN, "NNKIT_STARTED": "1"}, World(3, 4, 1, 2, 1, "node7", 29500, "nnkit")),
        # 15000 + (2007 * 31 + 0) % 16000
        (SLURM, World(3, 4, 1, 2, 1, "node07", 29217, "SLURM", "2007.0.0")),
        (
            {**SLURM, "MASTER_ADDR": "head", "MASTER_PORT": "9", "SLURM_RESTART_COUNT": "1"},
            World(3, 4, 1, 2, 1, "head", 9, "SLURM", "2007.0.1"),
        ),
        # A batch script or a terminal in which srun was not typed, and one task alone.
        (BATCH, None),
        ({**SLURM, "SLURM_JOB_NAME": "bash"}, None),
        ({**SLURM, "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NUM_NODES": "1"}, None),
        # A second step, of fewer tasks than the job.
        (
            {
                **{**SLURM, "SLURM_PROCID": "1", "SLURM_NODEID": "0", "SLURM_STEP_ID": "1"},
                **{"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NODELIST": "node08"},
            },
            World(1, 2, 1, 2, 0, "node08", 29218, "SLURM", "2007.1.0"),
        ),
    ],
)
def test_a_process_finds_its_place(environment, expected):
    assert read_world(environment) == expected


@pytest.mark.parametrize(
    ("machines", "first"),
    [
        ("localhost", "localhost"),
        ("node7,node9", "node7"),
        ("node[07-09,12],other[1-2]", "node07"),
        ("gpu[3]-ib,gpu4-ib", "gpu3-ib"),
    ],
)
def test_the_first_machine_of_a_list(machines, first):
    assert first_of(machines) == first


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"MASTER_PORT": "here"}, "MASTER_PORT is 'here', no number"),
        ({"LOCAL_RANK": None}, "LOCAL_RANK is not set"),
    ],
)
def test_a_variable_that_is_missing_or_wrong_is_named(changes, said):
    environment = {name: value for name, value in {**TORCHRUN, **changes}.items() if value is not None}
    with pytest.raises(UserError, match=said):
        read_world(environment)


@pytest.mark.parametrize(
    ("devices", "nodes", "fits"),
    [(2, 2, True), ("auto", "auto", True), (2, "auto", True), (1, 1, False), (4, 1, False)],
)
def test_a_config_asks_for_the_processes_that_were_started(devices, nodes, fits):
    text = unfit(read_world(TORCHRUN), devices, nodes)
    assert (text is None) == fits
    if not fits:
        assert "trainer.devices=2 trainer.num_nodes=2, or auto for both" in text


@pytest.mark.parametrize("environment", [SLURM, TORCHRUN])
def test_what_a_process_starts_that_trains_by_itself_has_no_place(environment):
    agent = {"TORCHELASTIC_USE_AGENT_STORE": "True", "HOME": "/home/me"}
    left = without_place({**environment, **agent})
    assert read_world(left) is None
    assert left["HOME"] == "/home/me"
    assert not {name for name in left if name.startswith(("TORCHELASTIC", "MASTER", "LOCAL_"))}


def slurm(tasks, nodes):
    """What srun sets for each task on this machine, which stands for all."""

    def environment(rank, size, port):
        each = tasks // nodes
        return {
            **{"SLURM_PROCID": rank, "SLURM_LOCALID": rank % each, "SLURM_NODEID": rank // each},
            **{
                "SLURM_STEP_NUM_TASKS": tasks,
                "SLURM_STEP_NUM_NODES": nodes,
                "SLURM_STEP_NODELIST": "localhost",
            },
            **{"SLURM_JOB_ID": 7, "SLURM_STEP_ID": 0, "SLURM_JOB_NAME": "train", "MASTER_PORT": port},
        }

    return environment


WORDS = [
    *["train", "model=mlp", "data=iris", "trainer.max_steps=4", "trainer.accelerator=cpu"],
    *["trainer.num_threads=1", "logger=[]", "name=run"],
]


@pytest.mark.parametrize(("devices", "nodes"), [(2, 1), (1, 2)])
def test_the_tasks_of_srun_train_one_run(devices, nodes):
    words = [*WORDS, f"trainer.devices={devices}", f"trainer.num_nodes={nodes}"]
    ended = together.run(2, words, environment=slurm(2, nodes))
    assert [one.code for one in ended] == [0, 0], ended[0].said
    assert ended[0].said.count("test/loss") == 1
    assert ended[1].said == ""


def test_more_processes_than_the_config_asks_for_are_refused_and_nothing_is_written():
    ended = together.run(2, WORDS)
    assert [one.code for one in ended] == [2, 2]
    assert "torchrun has started 2 processes" in ended[0].said
    assert "trainer.devices=2" in ended[0].said
    assert ended[1].said == ""
    assert not together.Path("outputs").exists()


def test_a_mistake_in_the_config_is_said_once():
    ended = together.run(2, [*WORDS, "trainer.devices=2", "optimizer.lr=fast", "data.batch_siz=3"])
    assert [one.code for one in ended] == [2, 2]
    assert ended[0].said.count("optimizer.lr") == 1
    assert "data.batch_siz" in ended[0].said
    assert ended[1].said == ""


def told_to_end(rank):
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()


@pytest.mark.parametrize(("rank", "said"), [(0, "nnkit: stopped by SIGTERM\n"), (1, "")])
def test_only_the_first_process_says_that_it_was_stopped_before_all_had_met(rank, said):
    def only(number, size, port):
        return {**together.torchrun(rank, 2, port), "TORCHELASTIC_RUN_ID": "none"}

    [ended] = together.run(1, [*WORDS, "trainer.devices=2"], environment=only, before=told_to_end)
    assert (ended.code, ended.said) == (143, said)


def test_a_signal_that_an_import_has_swallowed_ends_the_wait_for_others():
    place = World(1, 2, 1, 2, 0, "127.0.0.1", together.free_port(), "SLURM", "7.0.0")
    with signals.taken():
        with suppress(signals.Stopped):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(signals.Stopped, match="stopped by SIGTERM"):
            join(place)


def test_several_machines_need_a_launcher(cli):
    code, _, err = cli(*WORDS, "trainer.num_nodes=2")
    assert code == 2
    assert "trainer.num_nodes: 2 machines train together where torchrun or srun" in err
