"""Characters that occur in texts are found whichever alphabet a piece is in, and spellings are made one."""

import random
import unicodedata

import numpy as np
import pytest

from nnkit.data.tokenizing.base import cleaned
from nnkit.data.tokenizing.plain import Characters, count_code_points, seen_code_points
from nnkit.errors import UserError

PIECES = ["abc \n", "Ångström ÿ", "日本 🐈", "", "aβ\ud800", "zz", "é", "\x00"]


def test_every_character_is_found_once_and_in_order():
    dice = random.Random(1)
    for _ in range(20):
        texts = dice.choices(PIECES, k=dice.randint(0, 6))
        found = seen_code_points(iter(texts))
        assert found.tolist() == sorted({ord(sign) for text in texts for sign in text})
        assert np.array_equal(found, np.flatnonzero(count_code_points(iter(texts))))


def test_a_vocabulary_is_that_of_all_characters_unless_it_is_limited():
    texts = ["aaab", "日日", "é"]
    assert Characters.learn(texts, None, False).spec()["vocabulary"] == "abé日"
    assert Characters.learn(texts, 3, False).spec() == {
        "kind": "characters",
        "vocabulary": "a日",
        "with_unknown": True,
    }


@pytest.mark.parametrize(
    "text", ["é", "e\u0301", "가", "\u1100\u1161", "Å", "\u212b", "ÿ\u0300", "ab\r\nc\rd"]
)
def test_spellings_of_a_letter_are_one(text):
    assert cleaned(text) == unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))


def test_all_of_latin_1_is_its_own_normal_form():
    whole = "".join(map(chr, range(256)))
    assert unicodedata.is_normalized("NFC", whole)


@pytest.mark.parametrize("with_unknown", [False, True])
@pytest.mark.parametrize("size", [3, 253, 254, 255, 256, 300])
def test_ids_are_those_of_a_dictionary_on_both_sides_of_latin_1_and_of_a_byte(size, with_unknown):
    # From the end of Latin-1 on, so that its last letters have ids around 255, and "a" has none where it is short.
    vocabulary = "".join(
        map(chr, [*range(0xFF, 0xFF - min(size, 256), -1), *range(0x100, 0x100 + size - 256)])
    )
    tokenizer = Characters(vocabulary, with_unknown)
    known = {sign: number + with_unknown for number, sign in enumerate(vocabulary)}
    for text in ("", "ÿþý" * 2, vocabulary, vocabulary[::-1], "ÿ" + vocabulary[-1]):
        assert tokenizer.encode(text).tolist() == [known[sign] for sign in text]
    if with_unknown:
        assert tokenizer.encode("ÿ日þ\u0000").tolist() == [1, 0, 2, known.get("\u0000", 0)]
    else:
        with pytest.raises(UserError, match="日"):
            tokenizer.encode("ÿ日þ")
