"""BERT's special tokens: before the ids of any tokenizer, and around labelled texts."""

import json

import pytest
import torch

from nnkit.data.text.text_table import TextTable
from nnkit.data.tokenizing import SPECIAL_TOKENS, BertTokenizer, learn_tokenizer, tokenizer_from
from nnkit.errors import UserError

TEXTS = ["the cat saw a dog", "a dog went home", "the [MASK] stands in a text"] * 3
PAD, CLS, SEP, MASK = range(4)


def learnt(kind, **options):
    return learn_tokenizer(kind, TEXTS, max_vocab=None, with_unknown=True, special_tokens=True, **options)


@pytest.mark.parametrize("kind", ["characters", "bytes", "words", "bpe", "wordpiece"])
def test_special_tokens_have_the_first_ids_of_any_tokenizer(kind):
    special = learnt(kind)
    plain = learn_tokenizer(kind, TEXTS, max_vocab=None, with_unknown=True)
    assert [special.token_text(number) for number in range(4)] == list(SPECIAL_TOKENS)
    for text in TEXTS:
        # Text that looks like a special token is text.
        assert special.encode(text).min() >= len(SPECIAL_TOKENS)
        assert special.decode(special.encode(text).tolist()) == plain.decode(plain.encode(text).tolist())
    assert [row.tolist() for row in special.encode_batch(TEXTS)] == [
        special.encode(t).tolist() for t in TEXTS
    ]
    assert special.vocab_size == plain.vocab_size + len(SPECIAL_TOKENS)
    again = tokenizer_from(json.loads(json.dumps(special.spec())))
    assert isinstance(again, BertTokenizer)
    assert again.encode("the cat").tolist() == special.encode("the cat").tolist()


def test_a_masked_token_is_one_token_and_decoded_to_a_word():
    special = learnt("words")
    ids = special.encode_masked("the [MASK] saw [MASK]").tolist()
    assert [number == MASK for number in ids] == [False, True, False, True]
    assert special.decode([CLS, *ids, SEP]) == "[CLS] the [MASK] saw [MASK] [SEP]"
    assert special.encode_masked("the cat").tolist() == special.encode("the cat").tolist()


def test_words_out_of_vocabulary_are_named_and_special_tokens_count_in_the_size():
    special = learnt("words")
    assert special.encode("the bird").tolist()[1] == special.unknown
    assert special.out_of_vocabulary("the bird") == ["bird"]
    small = learn_tokenizer("words", TEXTS, max_vocab=8, with_unknown=True, special_tokens=True)
    assert small.vocab_size == 8


@pytest.mark.parametrize("spec", [{}, {"of": {"kind": "marked", "of": {"kind": "bytes"}}}, {"of": "bytes"}])
def test_a_spec_without_a_tokenizer_is_refused(spec):
    with pytest.raises(UserError, match="with special tokens has another one inside"):
        tokenizer_from({"kind": "marked", **spec})


def test_labelled_texts_stand_between_special_tokens(tmp_path):
    path = tmp_path / "texts.csv"
    rows = [
        f"{'word ' * (number % 9 + 1)}{number % 2},{'odd' if number % 2 else 'even'}" for number in range(40)
    ]
    path.write_text("\n".join(["text,label", *rows]))
    data = TextTable(path=str(path), tokenizer="words", markers=True, max_length=8)
    data.setup_data()
    restored = TextTable(path=str(path))
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
        TextTable(path="x.csv", markers=True, max_length=2)
