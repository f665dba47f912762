"""Pairs of sentences: what follows what, what is masked, which documents a part holds, the same pair every time."""

import json
import random
import re
from pathlib import Path

import pytest
import torch

from nnkit.batches import IGNORED
from nnkit.data.datasets.pydocs_pairs import PyDocsPairs
from nnkit.data.pairs.documents import cut_sentences
from nnkit.data.pairs.sentence_pairs import TextPairsFile
from nnkit.data.sampler import Draw
from nnkit.data.tokenizing import SPECIAL_TOKENS
from nnkit.errors import UserError

PAD, CLS, SEP, MASK = range(4)
# Each sentence begins with its name: document and place.
NAME = re.compile(r"<(\d\d\d):(\d\d)>")
NUM_DOCUMENTS = 60


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NNKIT_CACHE", str(tmp_path / "cache"))


def corpus():
    drawn = random.Random(0)
    documents = []
    for document in range(NUM_DOCUMENTS):
        count = drawn.randint(2, 30)
        lines = [f"<{document:03}:{place:02}>" + "x" * drawn.randint(0, 12) for place in range(count)]
        documents.append("\n".join(lines))
    return "\n\n".join([*documents, "<999:00> stands alone"])


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "documents.txt"
    path.write_text(corpus(), encoding="utf-8")
    return str(path)


def prepared(path, **options):
    chosen = {"tokenizer": "characters", "max_length": 64, "batch_size": 8, "test_fraction": 0.2, **options}
    data = TextPairsFile(path=path, **chosen)
    data.setup_data()
    return data


def whole(data, split="train", epoch=0):
    """Return a split as one batch, and its inputs as they were before some of it was hidden."""
    samples = data.split(split)
    batch = samples[Draw(epoch, torch.arange(len(samples)))]
    return batch, torch.where(batch.target == IGNORED, batch.inputs, batch.target)


def halves(data, inputs, mask):
    """Return both halves of a pair as text; checks that the marks stand where they should."""
    tokens = inputs[mask].tolist()
    assert (tokens[0], tokens[-1], tokens.count(CLS), tokens.count(SEP)) == (CLS, SEP, 1, 2)
    middle = tokens.index(SEP)
    assert middle > 1
    assert middle < len(tokens) - 2
    return (
        data.learnt_tokenizer.decode(tokens[1:middle]),
        data.learnt_tokenizer.decode(tokens[middle + 1 : -1]),
        middle,
    )


def names(text):
    return [(int(document), int(place)) for document, place in NAME.findall(text)]


@pytest.mark.parametrize("epoch", [0, None])
def test_labels_say_what_follows_and_halves_are_what_they_seem(path, epoch):
    data = prepared(path)
    batch, inputs = whole(data, epoch=epoch)
    seen = {0: 0, 1: 0}
    for row, mask, segments, label in zip(
        inputs, batch.mask, batch.segments, batch.next_label.tolist(), strict=True
    ):
        first, second, middle = halves(data, row, mask)
        expected = [0] * (middle + 1) + [1] * (int(mask.sum()) - middle - 1) + [0] * int((~mask).sum())
        assert segments.tolist() == expected
        assert not row[~mask].any()
        one, other = names(first), names(second)
        if not one or not other:
            # A short pair, in which no whole name is left.
            continue
        # What a half says is whole: its own sentences in their order, the second half from the beginning of one.
        assert one == [(one[0][0], one[0][1] + step) for step in range(len(one))]
        assert other == [(other[0][0], other[0][1] + step) for step in range(len(other))]
        assert NAME.match(second)
        assert other[0][1] > 0
        # 0 is the next sentence, as in the published models.
        if label == 0:
            assert other[0] == (one[0][0], one[-1][1] + 1)
        else:
            assert other[0][0] != one[0][0]
        seen[label] += 1
    assert min(seen.values()) > 10
    assert int(batch.mask.sum(1).max()) == 64


def test_runs_that_do_not_say_their_labels_keep_the_order_they_were_trained_with(path):
    data, old = prepared(path), prepared(path)
    assert data.preprocessing["is_next"] == data.is_next == 0
    old.setup_data({name: value for name, value in data.preprocessing.items() if name != "is_next"})
    assert old.is_next == 1
    for epoch in (0, None):
        (batch, inputs), (older, same) = whole(data, epoch=epoch), whole(old, epoch=epoch)
        assert torch.equal(inputs, same)
        assert torch.equal(older.next_label, 1 - batch.next_label)


def test_half_of_the_seconds_follow_and_the_length_does_not_tell_which(path):
    data = prepared(path)
    batches = [whole(data, epoch=epoch)[0] for epoch in range(20)]
    follows = 1 - torch.cat([batch.next_label for batch in batches]).double()
    # Five standard deviations.
    assert abs(follows.mean() - 0.5) < 5 * 0.5 / len(follows) ** 0.5
    lengths = torch.cat([batch.mask.sum(1) for batch in batches]).double()
    assert lengths.std() > 5
    spread = 5 * lengths.std() * 2 / len(lengths) ** 0.5
    assert abs(lengths[follows == 1].mean() - lengths[follows == 0].mean()) < spread


def test_of_the_tokens_15_percent_are_masked_80_10_10(path):
    data = prepared(path)
    hidden = masked = kept = other = words = 0
    places = torch.zeros(64)
    for epoch in range(40):
        batch, inputs = whole(data, epoch=epoch)
        chosen = batch.target != IGNORED
        is_word = batch.mask & (inputs > MASK)
        assert not (chosen & ~is_word).any()
        counts = (is_word.sum(1) * 0.15).round().clamp(min=1).int()
        assert torch.equal(chosen.sum(1).int(), counts)
        shown = batch.inputs[chosen]
        hidden, words = hidden + len(shown), words + int(is_word.sum())
        masked += int((shown == MASK).sum())
        kept += int((shown == batch.target[chosen]).sum())
        other += int(((shown != MASK) & (shown != batch.target[chosen])).sum())
        assert shown[shown != MASK].min() > MASK
        places[: chosen.shape[1]] += chosen.sum(0)
    assert hidden / words == pytest.approx(0.15, abs=0.01)
    spread = 5 * (0.1 * 0.9 / hidden) ** 0.5
    same = 1 / (data.learnt_tokenizer.vocab_size - len(SPECIAL_TOKENS))
    assert masked / hidden == pytest.approx(0.8, abs=1.5 * spread)
    # One in so many drawn at random is what stood there.
    assert kept / hidden == pytest.approx(0.1 + 0.1 * same, abs=spread)
    assert other / hidden == pytest.approx(0.1 * (1 - same), abs=spread)
    # Near the beginning, where every pair has a token, all places are hidden alike.
    early = places[1:20]
    assert early.max() < 1.35 * early.min()


def test_every_document_is_in_one_split_only(path):
    data = prepared(path)
    found = {}
    for split in ("train", "val", "test"):
        batch, inputs = whole(data, split)
        text = [part for row in zip(inputs, batch.mask, strict=True) for part in halves(data, *row)[:2]]
        found[split] = {document for part in text for document, _ in names(part)}
    assert found["train"] | found["val"] | found["test"] <= set(range(NUM_DOCUMENTS))
    assert not found["train"] & found["val"] | found["train"] & found["test"] | found["val"] & found["test"]
    counts = {split: count["documents"] for split, count in data.preprocessing["counts"].items()}
    assert counts == {"train": 45, "val": 3, "test": 12}
    assert len(found["test"]) == 12


def test_a_pair_depends_on_seed_epoch_and_number_alone(path):
    data = prepared(path)
    samples = data.split("train")
    batch, _ = whole(data, epoch=3)
    for numbers in ([5], [7, 5, 2]):
        some = samples[Draw(3, torch.tensor(numbers))]
        place = numbers.index(5)
        length = int(some.mask[place].sum())
        for one, other in zip(some[:4], batch[:4], strict=True):
            assert torch.equal(one[place, :length], other[5, :length])
        assert some.next_label[place] == batch.next_label[5]
    assert not torch.equal(whole(data, epoch=4)[0].next_label, batch.next_label)
    assert not torch.equal(whole(prepared(path, seed=1), epoch=3)[0].next_label, batch.next_label)
    fixed = [whole(prepared(path, seed=seed), "val", None)[0] for seed in (0, 1)]
    assert all(torch.equal(*pair) for pair in zip(*fixed, strict=True))


def test_batches_hold_pairs_of_like_length_and_each_pair_comes_once(path):
    data = prepared(path)
    for loader, count in (
        (data.train_dataloader(), len(data.split("train"))),
        (data.test_dataloader(), None),
    ):
        batches = list(loader)
        numbers = sorted(number for batch in batches for number in batch.indices.tolist())
        assert numbers == list(range(count if count is not None else len(data.split("test"))))
        widths = [batch.mask.sum(1) for batch in batches]
        assert all(
            int(width.max()) == batch.mask.shape[1] for width, batch in zip(widths, batches, strict=True)
        )
    padding = 1 - sum(int(b.mask.sum()) for b in batches) / sum(b.mask.numel() for b in batches)
    assert padding < 0.15


def test_a_restored_run_sees_the_same_pairs_and_a_changed_text_is_refused(path):
    first = prepared(path, max_length=40)
    learnt = json.loads(json.dumps(first.preprocessing))
    second = TextPairsFile(path=path)
    second.setup_data(learnt)
    assert second.facts() == first.facts()
    for one, other in zip(whole(first)[0], whole(second)[0], strict=True):
        assert torch.equal(one, other)
    Path(path).write_text(corpus() + "\nmore")
    third = TextPairsFile(path=path)
    third.setup_data(learnt)
    with pytest.raises(
        UserError, match=r"has changed since this run was prepared: .*; documents\.txt is another one"
    ):
        third.samples("test")


def test_documents_may_be_files_and_sentences_end_with_punctuation(tmp_path):
    for number in range(8):
        text = f"This is one\nof {number}. That is two!\n\nAnd three? Yes."
        (tmp_path / f"{number}.md").write_text(text)
    data = prepared(str(tmp_path), documents="files", sentences="punctuation", tokenizer="words")
    counts = data.preprocessing["counts"]
    assert sum(count["documents"] for count in counts.values()) == 8
    assert sum(count["sentences"] for count in counts.values()) == 8 * 4


def test_too_few_documents_are_counted_and_the_message_names_what_to_type(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("One paragraph. It goes on.\nAnd on.\n\nOne more.\n")
    with pytest.raises(UserError, match="has 1 documents of two sentences or more, and 6 are needed") as said:
        prepared(str(path))
    assert "data.sentences=punctuation" in str(said.value)
    with pytest.raises(UserError, match=r"data\.documents=blank_lines"):
        prepared(str(path), documents="files")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 4}, "max_length must be at least 5"),
        ({"path": None}, "path must name a text file"),
        ({"encoding": "nonsense"}, "encoding must be a codec"),
        ({"tokenizer": "wordpiece", "max_vocab": 19}, "max_vocab must lie between 20"),
        ({"val_fraction": 1.5}, "val_fraction must lie in"),
    ],
)
def test_what_is_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TextPairsFile(**{"path": "x.txt", **options})


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two", ["One.", "Two"]),
        ('He said "no." Then (as always) he went.', ['He said "no."', "Then (as always) he went."]),
        ("See e.g. this, 3.5 of it. `x` is a name!", ["See e.g. this, 3.5 of it.", "`x` is a name!"]),
        ("Wirklich? Äpfel... Und 3 mehr.", ["Wirklich?", "Äpfel...", "Und 3 mehr."]),
        ("これは一つ。これは二つ。", ["これは一つ。", "これは二つ。"]),
        ("  ", []),
    ],
)
def test_sentences_end_at_full_stops(text, sentences):
    assert cut_sentences(text) == sentences


def test_the_documentation_is_topics_and_modules(tmp_path, monkeypatch):
    library = tmp_path / "library"
    (library / "pydoc_data").mkdir(parents=True)
    topics = {f"topic{n}": f"Topic {n} is this. It is short.\n\nIt ends here." for n in range(6)}
    (library / "pydoc_data" / "topics.py").write_text(f"topics = {topics!r}\n")
    (library / "first.py").write_text(
        '"""One thing.\n\nAnother\nthing."""\ndef f():\n    """Last. Thing."""\n'
    )
    (library / "second.py").write_text('"""Alone."""\n')
    monkeypatch.setattr("nnkit.data.datasets.documentation.library_folder", lambda: library)
    data = PyDocsPairs(tokenizer="characters", max_length=32)
    data.setup_data()
    # Six topics of three sentences, a module of four; that of one is left out.
    counts = data.preprocessing["counts"]
    assert sum(count["documents"] for count in counts.values()) == 7
    assert sum(count["sentences"] for count in counts.values()) == 6 * 3 + 4
    assert data.preprocessing["origin"].keys() == {"Python"}
