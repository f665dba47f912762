import io
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tokenizers as library
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnkit.data.tokenizing import cut_before, learn_tokenizer, pieces, tokenizer_from
from nnkit.errors import UserError

KINDS = ["characters", "bytes", "words", "bpe", "wordpiece"]
VERSE = "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak! Ça va, 日本 naïve?\n"
TEXTS = [VERSE, "you are all resolved rather to die than to famish?\n" * 20, "Words and words.\n"]
FULL = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def learnt(kind, texts=TEXTS, **options):
    return learn_tokenizer(kind, texts, **{"max_vocab": None, "with_unknown": False, **options})


def clean(text):
    """Return a text as every tokenizer that is learnt now reads it."""
    return unicodedata.normalize("NFC", "\n".join(io.StringIO(text, newline=None).read().split("\n")))


@pytest.fixture(scope="module")
def all_kinds():
    return {kind: learnt(kind) for kind in KINDS}


def test_characters_are_numbered_by_code_point(all_kinds):
    table = {char: number for number, char in enumerate(sorted(set("".join(TEXTS))))}
    numbers = all_kinds["characters"].encode(VERSE)
    assert numbers.dtype == np.int32
    assert numbers.tolist() == [table[char] for char in VERSE]
    assert all_kinds["characters"].vocab_size == len(table)
    assert all_kinds["characters"].unknown is None


def test_bytes_are_those_of_utf8(all_kinds):
    assert all_kinds["bytes"].encode(VERSE).tolist() == list(VERSE.encode())
    assert all_kinds["bytes"].vocab_size == 256


def test_words_are_those_of_a_regular_expression(all_kinds):
    import re

    tokenizer = all_kinds["words"]
    # Of Chinese each character is a word.
    words = re.findall(r"\n|[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+|[^\w\s]+", VERSE)
    assert [tokenizer.token_text(token) for token in tokenizer.encode(VERSE)] == [
        word.replace("\n", "\\n") for word in words
    ]


UNSPACED = {
    "这个手机难看，GPT4很好。": "这 个 手 机 难 看 ， GPT4 很 好 。",
    "東京タワーに行きました": "東 京 タワー に 行 きました",
    "ｺｰﾋｰがすごーい": "ｺｰﾋｰ がすごーい",
    "ภาษาไทยน้ำ ๑๐๐ บาท": "ภา ษา ไท ย น้ำ ๑๐๐ บา ท",
    "한국어는 𠮷野家 हिन्दी": "한국어는 𠮷 野 家 हिन्दी",
}


@pytest.mark.parametrize("text", UNSPACED)
def test_words_of_scripts_without_blanks(text, caplog):
    tokenizer = learnt("words", [text])
    words = UNSPACED[text].split()
    assert [tokenizer.token_text(token) for token in tokenizer.encode(text)] == words
    # Of those words a new text is made; a vocabulary of an earlier release has it as one word that it does not know.
    assert tokenizer.unknown not in tokenizer.encode("".join(reversed(words)))
    assert "tokenizer=bpe learns longer pieces" in caplog.text
    spec = tokenizer.spec()
    assert spec.pop("by_script") is True
    old = tokenizer_from(spec)
    assert old.unknown in old.encode(text)
    assert old.spec() == spec


def test_a_text_without_blanks_is_written_without_them():
    text = "这个手机难看，GPT4很好。\n東京タワー"
    tokenizer = learnt("words", [text])
    assert tokenizer.decode(tokenizer.encode(text).tolist()) == "这个手机难看， GPT4 很好。\n東京タワー"


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_has_one_spelling_and_one_way_to_end_a_line(kind):
    composed, apart = "déjà vu\nÅngström 각\n", "de\u0301ja\u0300 vu\r\nA\u030angstro\u0308m 각\r"
    tokenizer = learnt(kind, [apart] * 3)
    assert tokenizer.spec() == learnt(kind, [composed] * 3).spec()
    assert tokenizer.encode(apart).tolist() == tokenizer.encode(composed).tolist()
    assert tokenizer.encode_batch([apart])[0].tolist() == tokenizer.encode(composed).tolist()
    assert tokenizer.out_of_vocabulary(apart) == []
    assert len(tokenizer.starts(apart)) == len(tokenizer.encode(apart))
    # Those of earlier releases read a text as it stands.
    spec = tokenizer.spec()
    assert spec.pop("form") == "NFC"
    assert tokenizer_from(spec).cleaned(apart) == apart
    assert tokenizer_from(spec).encode(composed).tolist() == tokenizer.encode(composed).tolist()


def test_bpe_is_that_of_the_library():
    theirs = library.Tokenizer(library.models.BPE())
    theirs.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = library.pre_tokenizers.ByteLevel.alphabet()
    trainer = library.trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    theirs.train_from_iterator(TEXTS, trainer)
    ours = learnt("bpe", max_vocab=300)
    assert ours.vocab_size == 300
    long = "".join(TEXTS) * 40
    assert len(long) > 2 << 14
    assert ours.encode(long).tolist() == theirs.encode(long).ids


def test_wordpiece_takes_the_longest_part_first(all_kinds):
    tokenizer = all_kinds["wordpiece"]
    vocabulary = set(tokenizer.spec()["vocabulary"])
    for word in ("resolved", "speak", "citizens"):
        rest, expected = word, []
        while rest:
            mark = "##" if expected else ""
            size = next((end for end in range(len(rest), 0, -1) if mark + rest[:end] in vocabulary), None)
            if size is None:
                expected = ["[UNK]"]
                break
            expected.append(mark + rest[:size])
            rest = rest[size:]
        assert [tokenizer.token_text(token) for token in tokenizer.encode(word)] == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_encoded_as_its_texts_are(all_kinds, kind):
    tokenizer = all_kinds[kind]
    texts = [VERSE, "", "Speak", VERSE * 300, "speak\n"]
    for text, numbers in zip(texts, tokenizer.encode_batch(texts), strict=True):
        assert numbers.dtype == np.int32
        assert np.array_equal(numbers, tokenizer.encode(text))


@pytest.mark.parametrize("kind", KINDS)
def test_a_spec_is_json_and_makes_the_same_tokenizer(all_kinds, kind):
    tokenizer = all_kinds[kind]
    again = tokenizer_from(json.loads(json.dumps(tokenizer.spec())))
    assert np.array_equal(again.encode(VERSE), tokenizer.encode(VERSE))
    assert (again.vocab_size, again.unknown) == (tokenizer.vocab_size, tokenizer.unknown)
    assert again.spec() == tokenizer.spec()


@pytest.mark.parametrize("kind", ["words", "bpe", "wordpiece"])
def test_equal_texts_give_equal_vocabularies(all_kinds, kind):
    # The library's own WordPiece numbers its characters in another order each time.
    for _ in range(3):
        assert learnt(kind, iter(TEXTS)).spec() == all_kinds[kind].spec()


@QUICK
@given(text=FULL)
def test_what_loses_nothing_gives_back_any_text(all_kinds, text):
    for kind in ("bytes", "bpe"):
        tokenizer = all_kinds[kind]
        assert tokenizer.decode(tokenizer.encode(text).tolist()) == clean(text)
        assert tokenizer.out_of_vocabulary(text) == []


@QUICK
@given(text=FULL.filter(bool), other=FULL)
def test_characters_give_back_what_they_know_and_name_the_rest(text, other):
    strict, lenient = learnt("characters", [text]), learnt("characters", [text], with_unknown=True)
    assert strict.decode(strict.encode(text).tolist()) == clean(text)
    assert lenient.decode(lenient.encode(text).tolist()) == clean(text)
    known, other = clean(text), clean(other)
    lacking = list(dict.fromkeys(char for char in other if char not in known))
    assert strict.out_of_vocabulary(other) == lenient.out_of_vocabulary(other) == lacking
    assert [number == 0 for number in lenient.encode(other)] == [char not in known for char in other]
    if lacking:
        with pytest.raises(UserError, match="the vocabulary lacks"):
            strict.encode(other)


@QUICK
@given(text=FULL, size=st.integers(1, 40))
def test_no_tokenizer_notices_where_a_text_is_cut(all_kinds, text, size):
    text = text.replace("a", " ").replace("b", "\n")
    parts = list(pieces(text, size))
    assert "".join(parts) == text
    for kind in ("words", "bpe", "wordpiece"):
        tokenizer = all_kinds[kind]
        whole = tokenizer.encode(text)
        assert np.array_equal(np.concatenate([tokenizer.encode(part) for part in parts]), whole)


def test_a_text_is_cut_before_the_white_space_of_a_word():
    assert cut_before("one two  three", 14) == 7
    assert cut_before("one two  three", 6) == 3
    assert cut_before("one", 3) is None
    assert cut_before("  one", 5) is None


def test_the_most_frequent_characters_stay_and_the_rest_is_unknown():
    tokenizer = learnt("characters", ["aaabbbccd"], max_vocab=3)
    assert tokenizer.encode("abcd").tolist() == [1, 2, 0, 0]
    assert tokenizer.unknown == 0
    assert tokenizer.token_text(0) == "<unk>"
    assert tokenizer.decode([1, 0]) == "a\ufffd"


def test_unknown_words_are_named(all_kinds):
    for kind in ("words", "wordpiece"):
        assert all_kinds[kind].out_of_vocabulary("Speak жук speak жук ж") == ["жук", "ж"]
        assert all_kinds[kind].encode("жук").tolist() == [all_kinds[kind].unknown]


def test_words_are_joined_as_one_writes_them(all_kinds):
    for kind in ("words", "wordpiece"):
        tokenizer = all_kinds[kind]
        line = "Before we proceed any further, hear me speak."
        assert tokenizer.decode(tokenizer.encode(line).tolist()) == line
    words = all_kinds["words"]
    lines = "First Citizen:\nhear me.\n\nAll:\n"
    assert words.decode(words.encode(lines).tolist()) == lines


@pytest.mark.parametrize("kind", KINDS)
def test_text_grows_at_its_end(all_kinds, kind):
    tokenizer = all_kinds[kind]
    numbers = tokenizer.encode(VERSE).tolist()
    before = ""
    for end in range(1, len(numbers) + 1):
        text = tokenizer.decode(numbers[:end])
        assert text.startswith(before.rstrip("\ufffd"))
        before = text


def test_tokens_are_shown_on_one_line(all_kinds):
    for tokenizer in all_kinds.values():
        for token in range(tokenizer.vocab_size):
            shown = tokenizer.token_text(token)
            assert shown
            assert shown.isprintable()
            assert " " not in shown


def test_half_a_character_is_no_reason_to_stop(all_kinds):
    broken = "Speak\udcff"
    for kind in ("bytes", "words", "bpe", "wordpiece"):
        all_kinds[kind].encode(broken)
        all_kinds[kind].out_of_vocabulary(broken)
    assert all_kinds["characters"].out_of_vocabulary(broken) == ["\udcff"]


@pytest.mark.parametrize("kind", [*KINDS, "special_wordpiece"])
def test_tokenizers_that_earlier_releases_saved_encode_as_they_did(kind):
    saved = json.loads((Path(__file__).parent / "saved_tokenizers.json").read_text(encoding="utf-8"))[kind]
    tokenizer = tokenizer_from(saved["spec"])
    assert tokenizer.encode("We speak, 日本: to die?\nUnheard words.").tolist() == saved["ids"]
    assert tokenizer.decode(saved["ids"]) == saved["decoded"]
    assert [tokenizer.token_text(token) for token in saved["ids"]] == saved["tokens"]
    assert (tokenizer.vocab_size, tokenizer.unknown) == (saved["vocab_size"], saved["unknown"])
    assert tokenizer.spec() == saved["spec"]


BAD_SPECS = [
    None,
    [],
    {},
    {"kind": "pickle"},
    {"kind": ["bpe"]},
    {"kind": "characters"},
    {"kind": "characters", "vocabulary": ["a"], "with_unknown": False},
    {"kind": "characters", "vocabulary": "aa", "with_unknown": False},
    {"kind": "characters", "vocabulary": "", "with_unknown": False},
    {"kind": "characters", "vocabulary": "ab", "with_unknown": 1},
    {"kind": "words", "vocabulary": ["a"]},
    {"kind": "words", "vocabulary": {"[UNK]": 0}},
    {"kind": "words", "vocabulary": ["[UNK]", 7]},
    {"kind": "words", "vocabulary": ["[UNK]", "[UNK]"]},
    {"kind": "wordpiece", "vocabulary": []},
    {"kind": "bpe", "vocabulary": ["a", "b", "ab"], "merges": ["a b"]},
    {"kind": "words", "vocabulary": ["[UNK]", *map(str, range(1_000_000))]},
]


@pytest.mark.parametrize("spec", BAD_SPECS, ids=lambda spec: str(spec)[:40])
def test_a_spec_from_elsewhere_is_refused_in_a_sentence(spec):
    with pytest.raises(UserError):
        tokenizer_from(spec)


@pytest.mark.parametrize("merges", [["a"], ["a b c"], ["zz a"], ["", "a"], [1], None])
def test_merges_from_elsewhere_are_checked(all_kinds, merges):
    with pytest.raises(UserError, match="merges"):
        tokenizer_from({**all_kinds["bpe"].spec(), "merges": merges})


@pytest.mark.parametrize(
    ("kind", "size"), [("bytes", 300), ("bpe", 256), ("characters", 1), ("words", 2_000_000), ("morse", None)]
)
def test_a_vocabulary_that_cannot_be_is_refused(kind, size):
    with pytest.raises(ValueError, match=r"max_vocab|tokenizer must be"):
        learnt(kind, max_vocab=size)


@pytest.mark.parametrize("kind", ["characters", "words", "wordpiece"])
def test_nothing_can_be_learnt_from_nothing(kind):
    with pytest.raises(UserError, match="there is no text"):
        learnt(kind, [""])


FORKED = """
import os
from nnkit.data.tokenizing import learn_tokenizer
tokenizer = learn_tokenizer("bpe", ["some words here\\n"] * 50, max_vocab=300, with_unknown=False)
tokenizer.encode_batch(["some words"] * 100)
child = os.fork()
if child == 0:
    assert len(tokenizer.encode_batch(["some words"] * 100)) == 100
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_forked_process_encodes_and_nothing_is_warned_of():
    environment = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"}
    done = subprocess.run(
        [sys.executable, "-c", FORKED],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_library_is_imported_only_where_it_is_needed():
    code = (
        "import sys\nfrom nnkit.data.tokenizing import learn_tokenizer\n"
        "learn_tokenizer('characters', ['ab'], max_vocab=None, with_unknown=False)\n"
        "assert 'tokenizers' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
