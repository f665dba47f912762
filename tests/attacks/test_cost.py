"""FAULTS class 17: a run directory costs no more to open than its size, and nothing reads or writes beyond memory.

Each attack is a small file; where torch obeys it, the process takes gigabytes, hangs, or writes over its own heap.
"""

import zipfile
from itertools import cycle

import pytest
import torch
from hostile_run import INIT_FROM, MEBIBYTE, PREDICT, RESUME, TEST, VERBS, cheaply
from old_checkpoint import ended, pieces, record, rewritten, saved
from warm import Warm, command

from nnkit.checkpoint.old_formats import load

# Bytes that the bombs unpack to.
BOMB = 400 * MEBIBYTE
ZEROS = [bytes(MEBIBYTE)] * (BOMB // MEBIBYTE)


def test_what_the_attacks_write_is_read_where_nothing_is_wrong(hostile):
    """Otherwise they would prove nothing."""
    data = saved(hostile.state())
    assert load(rewritten(data)).keys() == load(data).keys()


@pytest.mark.parametrize("name", ["0", "version", "data.pkl"])
def test_a_compressed_record_is_refused_before_it_is_unpacked(hostile, refuses, name):
    bomb = rewritten(saved(hostile.state()), zipfile.ZIP_DEFLATED, **{name: ZEROS})
    assert len(bomb) < BOMB // 100
    hostile.put_old(bomb)
    for words in VERBS if name == "0" else [TEST]:
        with cheaply():
            refuses(words, "its records are compressed")


def test_the_directory_that_is_checked_is_the_one_that_torch_reads(hostile, refuses):
    """Python takes the directory before the end, torch the one whose place the end names: here a bomb's."""
    data = saved(hostile.state())
    good, shown = pieces(data)
    bad, used = pieces(data, zipfile.ZIP_DEFLATED, version=ZEROS)
    assert len(shown) == len(used)
    hostile.put_old(ended(bad + good + used, shown, read=(len(bad + good), len(used))))
    with cheaply():
        refuses(TEST, "its directory is elsewhere")


def test_records_that_share_their_bytes_are_refused(hostile, refuses):
    """Hundreds of names for one large record: nothing is compressed, and together they are hundreds of files."""
    records, directory = pieces(saved({**hostile.state(), "large": torch.zeros(MEBIBYTE)}))
    hostile.put_old(ended(records, directory * 200))
    with cheaply():
        refuses(TEST, "bytes of records")


def test_a_tensor_that_claims_more_than_its_record_is_refused(hostile, refuses):
    """The ten numbers of a tensor become ten thousand million, and the rest is as torch.save writes it."""
    data = saved({**hostile.state(), "large": torch.zeros(10)})
    pickled = record(data, "data.pkl")
    claimed = pickled.replace(b"K\nt", b"\x8a\x05\x00\xe4\x0b\x54\x02t")
    claimed = claimed.replace(b"K\n\x85", b"\x8a\x05\x00\xe4\x0b\x54\x02\x85")
    assert len(claimed) == len(pickled) + 10
    hostile.put_old(rewritten(data, **{"data.pkl": [claimed]}))
    for words in VERBS:
        with cheaply():
            refuses(words, "the checkpoint is refused")


LAUGHS = [0]
for _ in range(12):
    LAUGHS = [LAUGHS] * 10
CIRCLE = []
CIRCLE.append(CIRCLE)
VALUES = {
    "an expanded tensor": (torch.zeros(1).expand(10**12), "fewer numbers"),
    "a tensor past its end": (torch.zeros(100)[99:].as_strided((50,), (0,)), "fewer numbers"),
    "a sparse tensor": (torch.zeros(3).to_sparse(), "which is no plain data"),
    "a tensor without memory": (torch.zeros(10**12, device="meta"), "which is no plain data"),
    "a billion laughs": (LAUGHS, "repetitions counted"),
    "a circle": (CIRCLE, "nested more than"),
}


# All verbs read a checkpoint by the same function.
@pytest.mark.parametrize(("value", "words"), [*zip(VALUES, cycle(VERBS))])
def test_a_value_that_costs_more_than_it_weighs_is_refused(hostile, refuses, value, words):
    content, said = VALUES[value]
    hostile.put_old({**hostile.state(), "x": content})
    with cheaply():
        refuses(words, said)


def test_a_list_that_no_function_can_walk_is_refused(hostile, refuses):
    data = saved({**hostile.state(), "x": "mark"})
    # A hundred thousand empty lists, each put into the one before it.
    deep = b"]" * 100_000 + b"a" * 99_999
    pickled = record(data, "data.pkl").replace(b"X\x04\x00\x00\x00mark", deep)
    hostile.put_old(rewritten(data, **{"data.pkl": [pickled]}))
    with cheaply():
        refuses(INIT_FROM, "nested more than")


def test_a_state_that_is_smaller_than_its_parameter_is_not_given_to_a_fused_step(hostile):
    """The step takes the parameter's size for granted: in a process of its own, as the attack ends it with a crash."""
    state = hostile.state()
    for values in state["optimizer_states"][0]["state"].values():
        values["exp_avg"] = torch.zeros(1)
    hostile.put(state)
    code, said = Warm(command, *RESUME).wait()
    assert code == 1, said
    assert "the checkpoint's optimizer does not fit this network: exp_avg has shape (1,)" in said


@pytest.mark.parametrize("value", ["x", [[0.0]], {"a": 1}], ids=str)
def test_a_state_of_another_kind_is_not_given_to_an_optimizer(hostile, refuses, value):
    state = hostile.state()
    state["optimizer_states"][0]["state"][0]["exp_avg"] = value
    hostile.put(state)
    refuses(RESUME, "the checkpoint's optimizer does not fit this network: exp_avg is a", begins=True)


STATES = {
    "a number": ([3], "its optimizer_states hold something of the wrong kind"),
    "nothing": ([{}], "the checkpoint's optimizer does not fit this network"),
    "no groups": ([{"state": {}, "param_groups": 3}], "the checkpoint's optimizer does not fit this network"),
}


@pytest.mark.parametrize(("states", "said"), STATES.values(), ids=STATES)
def test_what_is_no_state_of_an_optimizer_is_said(hostile, refuses, states, said):
    hostile.put({**hostile.state(), "optimizer_states": states})
    refuses(RESUME, said, begins=True)


def test_a_generator_does_not_read_beyond_its_numbers(hostile, refuses):
    state = hostile.state()
    state["nnkit"]["generators"]["numpy"][2] = 10**6
    hostile.put(state)
    refuses(RESUME, "its generators are of the wrong kind: position 1000000")


KINDS = ["state_dict", "optimizer_states", "loops", "callbacks", "pytorch-lightning_version"]
KINDS += [
    "nnkit.config",
    "nnkit.choices",
    "nnkit.num_lines",
    "nnkit.gradients",
    "nnkit.generators",
    "nnkit.stopped",
]


@pytest.mark.parametrize(("key", "words"), [*zip(KINDS, cycle(VERBS))])
def test_what_readers_take_for_granted_is_checked(hostile, refuses, key, words):
    state = hostile.state()
    place = state["nnkit"] if key.startswith("nnkit.") else state
    place[key.removeprefix("nnkit.")] = 3.5
    hostile.put(state)
    refuses(words, f"its {key} is of the wrong kind: float")


@pytest.mark.parametrize("hidden", ["4000000000000", "300000000"])
def test_a_config_claims_no_memory_that_its_weights_do_not_fill(hostile, refuses, hidden):
    hostile.edit("hidden:\n  - 4\n", f"hidden:\n  - {hidden}\n")
    for words in (TEST, PREDICT, RESUME):
        with cheaply():
            refuses(words, hidden, codes=(2,))


def test_a_config_of_more_layers_than_can_be_built_is_refused_before_they_are(hostile, refuses):
    hidden = "".join("  - 4\n" for _ in range(2600))
    hostile.edit("hidden:\n  - 4\n", f"hidden:\n{hidden}")
    with cheaply(seconds=100):
        refuses(TEST, "tensors of weights", codes=(2,))
    # Its checkpoint is of the other config, which is said first, and shortened.
    with cheaply(seconds=100):
        refuses(RESUME, "belongs to another config", codes=(2,))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("num_threads: 1", "num_threads: 100000", "trainer.num_threads: must be from 1 to 1024"),
        ("num_threads: 1", "num_threads: abc", "trainer.num_threads: must be a whole number"),
        ("num_workers: 0", "num_workers: 100000", "data.num_workers: must be at most 1024"),
        ("devices: 1", "devices: 300", "trainer.devices: 300 processes are too many for the"),
        ("devices: 1", "devices: '300'", "trainer.devices: 300 processes are too many for the"),
        ("num_nodes: 1", "num_nodes: -3", "trainer.num_nodes: must be a count"),
    ],
)
def test_a_config_starts_no_army_of_threads_or_processes(hostile, refuses, old, new, said):
    hostile.edit(old, new)
    for words in (TEST, PREDICT, RESUME):
        with cheaply():
            refuses(words, said, codes=(2,))
