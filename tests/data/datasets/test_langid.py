import hashlib
import json
from collections import defaultdict

import pytest
from babel import Locale

from nnkit.data.datasets.langid import LANGUAGES, LangID, collect_names, split_of
from nnkit.errors import UserError


@pytest.fixture(scope="module")
def names():
    return collect_names()


def test_strings_of_one_language_only(names):
    spoken = defaultdict(set)
    for code in LANGUAGES:
        for kind in ("languages", "territories"):
            for name in getattr(Locale.parse(code), kind).values():
                spoken[name].add(Locale.parse(code).english_name)
    assert len(LANGUAGES) == 24
    assert sum(map(len, spoken.values())) > 20_000
    assert {name.text: {name.language} for name in names} == {
        text: languages for text, languages in spoken.items() if len(languages) == 1
    }
    assert len({name.text.strip() for name in names}) == len(names) > 10_000


def test_no_concept_is_in_two_splits(names):
    concepts = {name.concept for name in names}
    parts = {concept: split_of(concept) for concept in concepts}
    for concept in list(concepts)[:50]:
        digit = int(hashlib.sha256(concept.encode()).hexdigest(), 16) % 10
        assert parts[concept] == {0: "test", 1: "val"}.get(digit, "train")
    shares = [list(parts.values()).count(part) / len(parts) for part in ("train", "val", "test")]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.03)


def test_the_dataset_holds_them_all(names):
    data = LangID()
    data.setup_data()
    counts = data.preprocessing["counts"]
    assert counts == {part: sum(split_of(name.concept) == part for name in names) for part in counts}
    assert data.facts()["num_classes"] == 24
    assert 100 < data.facts()["vocab_size"] < 400
    restored = LangID()
    restored.setup_data(json.loads(json.dumps(data.preprocessing)))
    assert restored.split("test").lengths.tolist() == data.split("test").lengths.tolist()


def test_other_names_than_those_of_the_run_are_refused():
    data = LangID()
    data.setup_data()
    preprocessing = {**data.preprocessing, "fingerprint": "0" * 64}
    data.setup_data(preprocessing)
    with pytest.raises(UserError, match="has changed since this run was prepared"):
        data.split("test")
