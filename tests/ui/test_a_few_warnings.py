"""Of thousands of warnings of one kind a few are shown, and how many more there were."""

import logging

import pytest

from nnkit.ui.logs import a_few_of_each

logger = logging.getLogger("nnkit")


def warn(count):
    for number in range(count):
        logger.warning("%s is odd: %d", f"{number}.png", number)


def test_the_first_of_each_kind_and_a_count(caplog):
    with a_few_of_each(2):
        warn(1_002)
        logger.warning("another")
    assert caplog.messages == [
        "0.png is odd: 0",
        "1.png is odd: 1",
        "another",
        "1,000 more like: 0.png is odd: 0",
    ]


def test_nothing_is_counted_where_all_were_shown_and_nothing_left_behind(caplog):
    with a_few_of_each(3):
        warn(3)
    warn(4)
    assert len(caplog.messages) == 7


def test_the_count_comes_also_where_the_block_failed(caplog):
    with pytest.raises(KeyError), a_few_of_each(1):
        warn(2)
        raise KeyError
    assert caplog.messages[-1] == "1 more like: 0.png is odd: 0"
