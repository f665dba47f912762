"""BERT's marks: before the tokens of any tokenizer, and around labelled texts."""

import json

import pytest
import torch

from nnkit.data.text.text_csv import TextCSV
from nnkit.data.tokenizing.tokenizers import MARKS, Marked, learn_tokenizer, tokenizer_from
from nnkit.errors import UserError

TEXTS = ["the cat saw a dog", "a dog went home", "the [MASK] stands in a text"] * 3
PAD, CLS, SEP, MASK = range(4)


def learnt(kind, **options):
    return learn_tokenizer(kind, TEXTS, max_vocab=None, with_unknown=True, markers=True, **options)


@pytest.mark.parametrize("kind", ["characters", "bytes", "words", "bpe", "wordpiece"])
def test_marks_come_before_the_tokens_of_any_tokenizer(kind):
    marked = learnt(kind)
    plain = learn_tokenizer(kind, TEXTS, max_vocab=None, with_unknown=True)
    assert [marked.token_text(number) for number in range(4)] == list(MARKS)
    for text in TEXTS:
        # What looks like a mark in a text is none.
        assert marked.encode(text).min() >= len(MARKS)
        assert marked.decode(marked.encode(text).tolist()) == plain.decode(plain.encode(text).tolist())
    assert [row.tolist() for row in marked.encode_batch(TEXTS)] == [marked.encode(t).tolist() for t in TEXTS]
    assert marked.vocab_size == plain.vocab_size + len(MARKS)
    again = tokenizer_from(json.loads(json.dumps(marked.spec())))
    assert isinstance(again, Marked)
    assert again.encode("the cat").tolist() == marked.encode("the cat").tolist()


def test_a_hidden_token_is_one_token_and_shown_as_a_word():
    marked = learnt("words")
    numbers = marked.encode_hidden("the [MASK] saw [MASK]").tolist()
    assert [number == MASK for number in numbers] == [False, True, False, True]
    assert marked.decode([CLS, *numbers, SEP]) == "[CLS] the [MASK] saw [MASK] [SEP]"
    assert marked.encode_hidden("the cat").tolist() == marked.encode("the cat").tolist()


def test_unknown_words_are_told_and_the_vocabulary_s_size_counts_the_marks():
    marked = learnt("words")
    assert marked.encode("the bird").tolist()[1] == marked.unknown
    assert marked.outsiders("the bird") == ["bird"]
    small = learn_tokenizer("words", TEXTS, max_vocab=8, with_unknown=True, markers=True)
    assert small.vocab_size == 8


@pytest.mark.parametrize("spec", [{}, {"of": {"kind": "marked", "of": {"kind": "bytes"}}}, {"of": "bytes"}])
def test_a_spec_without_a_tokenizer_is_refused(spec):
    with pytest.raises(UserError, match="a marked tokenizer is of another one"):
        tokenizer_from({"kind": "marked", **spec})


def test_labelled_texts_stand_between_marks(tmp_path):
    path = tmp_path / "texts.csv"
    rows = [
        f"{'word ' * (number % 9 + 1)}{number % 2},{'odd' if number % 2 else 'even'}" for number in range(40)
    ]
    path.write_text("\n".join(["text,label", *rows]))
    data = TextCSV(path=str(path), tokenizer="words", markers=True, max_length=8)
    data.setup_data()
    restored = TextCSV(path=str(path))
    restored.setup_data(json.loads(json.dumps(data.preprocessing)))
    for one in (data, restored):
        (batch,) = one.test_dataloader()
        lengths = batch.mask.sum(1)
        assert int(lengths.max()) == 8
        assert (batch.inputs[:, 0] == CLS).all()
        assert (batch.inputs[torch.arange(len(lengths)), lengths - 1] == SEP).all()
        assert ((batch.inputs == CLS).sum(1) == 1).all()
    ((_, read),) = restored.read(["word 1"])
    assert read.inputs.shape == (1, 4)
    assert read.inputs[0, 0] == CLS
    with pytest.raises(ValueError, match="max_length must be at least 3, not 2"):
        TextCSV(path="x.csv", markers=True, max_length=2)
