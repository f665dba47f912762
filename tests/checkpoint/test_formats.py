"""The codec of format 3: whatever a run keeps comes back exactly, and what cannot is refused with its key."""

import json
import random
import re
from collections import Counter, OrderedDict, defaultdict
from fractions import Fraction

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nnkit.checkpoint.compare import differences
from nnkit.checkpoint.formats import DOCUMENT, TENSORS, decode, dump, encode, load


def there_and_back(state):
    files = dump(*encode(state))
    json.loads(files[DOCUMENT], parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    return load(files[DOCUMENT], {TENSORS: files[TENSORS]})


def same(expected, found):
    """Whether two values are equal, and of the same types down to the last key."""
    if isinstance(expected, torch.Tensor):
        return not list(differences(expected, found)) and expected.shape == found.shape
    if type(expected) is not type(found):
        return False
    if isinstance(expected, dict):
        keys = zip(expected, found, strict=False)
        return len(expected) == len(found) and all(
            same(one, other) and same(expected[one], found[other]) for one, other in keys
        )
    if isinstance(expected, list | tuple):
        return len(expected) == len(found) and all(map(same, expected, found))
    if isinstance(expected, float):
        return (expected != expected and found != found) or expected.hex() == found.hex()
    return expected == found


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats()
    | st.text()
    | st.binary()
    | st.sampled_from([torch.bfloat16, torch.int64, torch.complex64])
)
keys = st.text() | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False) | st.binary()


@st.composite
def tensors(draw):
    kinds = [
        torch.float32,
        torch.bfloat16,
        torch.float64,
        torch.float16,
        torch.int64,
        torch.uint8,
        torch.bool,
    ]
    kinds += [torch.complex64, torch.complex128, torch.int8, torch.float8_e5m2]
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    seed = draw(st.integers(0, 99))
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(
        draw(st.sampled_from(kinds))
    )
    numbers = numbers.permute(draw(st.permutations(range(len(shape)))))
    if shape and draw(st.booleans()):
        numbers = numbers[..., ::2]
    return numbers


values = st.recursive(
    leaves | tensors(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
        | st.dictionaries(st.sampled_from(["$tensor", "$dict", "$tuple", "a.b", "a"]), inner, max_size=4)
        | st.dictionaries(st.text(), inner, max_size=4).map(OrderedDict)
    ),
    max_leaves=20,
)


@given(st.dictionaries(keys, values, max_size=5))
def test_whatever_is_plain_comes_back_as_it_was(state):
    assert same(state, there_and_back(state))


@given(st.recursive(st.none() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["$tensor", "$dict", "$set", "$tuple",
    "$complex", "$dtype", "$bytes", "$float", "$ordered", "$counter", "stride"]), inner), max_leaves=20))  # fmt: skip
def test_whatever_a_document_says_is_a_state_or_refused(document):
    try:
        state = load(json.dumps(document).encode(), {})
    except ValueError:
        return
    assert same(state, there_and_back(state))


def test_what_a_run_keeps_comes_back():
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.8, 0.9))
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5, 5])
    state = {
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "python": random.getstate(),
        "torch": torch.get_rng_state(),
        "weights": model.state_dict(),
        "set": {3, 1, "two"},
        "counter": Counter("abca"),
    }
    found = there_and_back(state)
    assert same({**state, "weights": OrderedDict(state["weights"])}, found)
    assert found["optimizer"]["param_groups"][0]["betas"] == (0.8, 0.9)
    assert list(found["optimizer"]["state"]) == [0, 1]
    random.setstate(found["python"])


def test_memory_that_is_shared_is_stored_once_and_shared_again():
    tensor = torch.arange(1000.0)
    state = {"one": tensor, "other": tensor, "parameter": nn.Parameter(tensor), "part": tensor[10:20]}
    _, stored = encode(state)
    assert sum(one.numel() for one in stored.values()) == 1010
    found = there_and_back(state)
    assert same({**state, "parameter": tensor}, found)
    assert found["one"] is found["other"] is found["parameter"]


def test_nothing_dense_is_copied():
    kept = {
        "rows": torch.zeros(3, 4),
        "columns": torch.zeros(3, 4).t(),
        "complex": torch.zeros(2, dtype=torch.cfloat),
    }
    _, stored = encode(kept)
    assert [stored[name].data_ptr() for name in kept] == [one.data_ptr() for one in kept.values()]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_order_of_dimensions_in_memory_is_kept(channels):
    weight = torch.randn(4, channels, 5, 5).to(memory_format=torch.channels_last)
    assert weight.stride() != torch.randn(weight.shape).stride()
    found = there_and_back({"weight": weight})["weight"]
    assert found.stride() == weight.stride()
    assert torch.equal(found, weight)


def test_a_tensor_that_is_read_lies_as_one_that_was_computed():
    """Kernels may round otherwise where the address is another one, modulo the width of a vector."""
    for tensor in there_and_back({"a": torch.ones(3), "b": torch.ones(5, dtype=torch.uint8)}).values():
        assert tensor.data_ptr() % 64 == 0


def test_names_that_collide_stay_apart():
    state = {"a": {"b": torch.zeros(1)}, "a.b": torch.ones(1), "a.b~2": torch.full((1,), 2.0)}
    state |= {"__metadata__": torch.full((1,), 3.0), "\ud800": torch.full((1,), 4.0)}
    assert same(state, there_and_back(state))


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


class Text(str):
    pass


class Numbers(torch.Tensor):
    pass


CIRCLE = []
CIRCLE.append(CIRCLE)
REFUSED = {
    "a function": (len, "a builtins.builtin_function_or_method"),
    "an object": (Fraction(1, 2), "a fractions.Fraction"),
    "a number of NumPy": (numpy.float64(1), "a numpy.float64"),
    "an array": (numpy.zeros(2), "a numpy.ndarray"),
    "a text of its own": (Text("x"), "a test_formats.Text"),
    "a dictionary that makes values": (defaultdict(list), "a collections.defaultdict"),
    "a key that is a tuple": ({(1, 2): 3}, "a key of the type tuple"),
    "a key that is an empty tuple": ({(): 3}, "a key of the type tuple"),
    "a long integer": (10**1000, "an integer of 3,322 bits"),
    "a circle": (CIRCLE, "nested more than 64 deep"),
    "too deep": (nested(70), "nested more than 64 deep"),
    "a sparse tensor": (torch.zeros(3).to_sparse(), "torch.sparse_coo"),
    "a tensor without memory": (torch.zeros(3, device="meta"), "on meta"),
    "a tensor of its own": (torch.zeros(2).as_subclass(Numbers), "a test_formats.Numbers"),
    "a random generator": (random.Random(1), "a random.Random"),
}


@pytest.mark.parametrize(("value", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_kept_is_refused_with_its_key(value, said):
    with pytest.raises(ValueError, match=rf"^callbacks\.Mine\.\S+ is or holds .*{re.escape(said)}"):
        encode({"callbacks": {"Mine": {"kept": value}}})


def test_what_could_not_be_read_back_is_not_written():
    document, stored = encode({"numbers": list(range(1_000_001))})
    with pytest.raises(ValueError, match="more than 1,000,000 values"):
        dump(document, stored)
    document, stored = encode([torch.zeros(0)] + [torch.zeros(1) for _ in range(50_001)])
    with pytest.raises(ValueError, match="more than 50,000 tensors"):
        dump(document, stored)


def test_a_state_is_decoded_without_its_files():
    document, stored = encode({"a": (1, torch.ones(2))})
    assert same({"a": (1, torch.ones(2))}, decode(document, stored))
