import hashlib
import json
import logging
from collections import defaultdict
from datetime import date, timedelta
from itertools import chain, product

import pytest
import torch
from babel.dates import format_date

from nnkit.data.datasets.dates import LOCALES, Dates, formats, split_of, with_one_answer, write_dates
from nnkit.data.sampler import Draw
from nnkit.errors import UserError

ROUND = {"\u00a0": " ", "\u202f": " ", "\u2009": " "}


@pytest.fixture(scope="module")
def dates():
    return write_dates(5000, seed=0)


def test_equal_seeds_give_equal_dates_and_no_text_comes_twice(dates):
    assert write_dates(300, seed=0) == dates[:300]
    assert write_dates(300, seed=1) != dates[:300]
    assert len({text for text, _ in dates}) == 5000
    assert {day.year for _, day in dates} == set(range(1950, 2050))
    assert {text.split(" ")[0] for text, _ in dates} == set(LOCALES)


def test_they_are_written_as_babel_writes_them(dates):
    found = defaultdict(set)
    for text, day in dates:
        code, _, written = text.partition(" ")
        for style in ("full", "long", "medium", "short"):
            if written == format_date(day, style, locale=code).translate(str.maketrans(ROUND)):
                found[code].add(style)
    assert set(found) == set(LOCALES)
    assert sum(map(len, found.values())) > 3.5 * len(LOCALES)


def test_no_text_means_two_days():
    """Written in every format: days whose parts could change places, and all days of a month with 31."""
    parts = product((2001, 2010, 2011, 2012), range(1, 13), (1, 10, 11, 12))
    days = [date(*part) for part in parts]
    days += [date(1950, 1, 1) + timedelta(number) for number in range(31)]
    for code in LOCALES:
        meant = {}
        patterns = formats(code)
        assert len(patterns) >= 4
        for pattern in patterns:
            for day in days:
                assert meant.setdefault(pattern.apply(day, code), day) == day


def test_an_ambiguous_format_is_not_used(monkeypatch):
    from babel import Locale
    from babel.dates import parse_pattern

    patterns = [parse_pattern(text) for text in ("d/M/yy", "M/d/yy", "d. MMMM y", "MMMM y", "E d M yyyy")]
    kept = with_one_answer(Locale.parse("en_GB"), patterns)
    assert [pattern.pattern for pattern in kept] == ["d/M/yy", "d. MMMM y", "E d M yyyy"]


def test_no_day_is_in_two_splits():
    days = [date(1950, 1, 1) + timedelta(number) for number in range(0, 36_525, 40)]
    for day in days[:50]:
        number = int(hashlib.sha256(day.isoformat().encode()).hexdigest(), 16) % 20
        assert split_of(day) == {0: "test", 1: "val"}.get(number, "train")
    shares = [sum(split_of(day) == part for day in days) / len(days) for part in ("train", "val", "test")]
    assert shares == pytest.approx([0.9, 0.05, 0.05], abs=0.02)


def test_the_dataset_asks_for_days_never_seen_in_training(dates, caplog):
    caplog.set_level(logging.INFO)
    data = Dates(num_pairs=2000)
    data.setup_data()
    assert "2000 dates written by Babel" in caplog.text
    answers = {}
    for split in ("train", "val", "test"):
        samples = data.split(split)
        target = samples[Draw(None, torch.arange(len(samples)))].target
        answers[split] = [data.decode_target(row) for row in target.tolist()]
    assert sorted(chain(*answers.values())) == sorted(day.isoformat() for _, day in dates[:2000])
    assert not set(answers["train"]) & set(answers["test"])
    assert not set(answers["train"]) & set(answers["val"])
    assert data.facts()["vocab_size"] == 2 + 1 + 11
    restored = Dates(num_pairs=2000)
    restored.setup_data(json.loads(json.dumps(data.preprocessing)))
    assert len(restored.split("test")) == len(answers["test"]) == data.preprocessing["counts"]["test"]
    other = Dates(num_pairs=1999)
    other.setup_data(data.preprocessing)
    with pytest.raises(UserError, match=r"data.num_pairs=1999 .* has changed since this run was prepared"):
        other.split("test")


def test_the_number_of_pairs_is_bounded():
    for number in (99, 2_000_000):
        with pytest.raises(ValueError, match="num_pairs must lie between 100 and 1,000,000"):
            Dates(num_pairs=number)
