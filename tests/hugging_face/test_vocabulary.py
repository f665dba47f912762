"""Tokenizers of directories against the `tokenizers` library, on ten thousand lines of eight languages; and back."""

import json
import random

import numpy as np
import pytest
import tokenizers
from babel import Locale
from tokenizers import Regex, models, normalizers, pre_tokenizers, trainers

from nnkit.data.tokenizing import SPECIAL_TOKENS, BertTokenizer, learn_tokenizer, tokenizer_from
from nnkit.data.tokenizing.library import WORDS
from nnkit.errors import ConfigError
from nnkit.hugging_face.vocabulary import read_tokenizer, write_tokenizer

LANGUAGES = ("en", "fr", "vi", "ru", "ar", "zh", "ja", "hi")
SIZE = 1500
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="module")
def lines():
    """Names and numbers in eight languages, as running text: with signs, blanks, capital letters and line ends."""
    drawn, found = random.Random(1), []
    for language in LANGUAGES:
        locale = Locale(language)
        names = [*locale.territories.values(), *locale.languages.values(), *locale.currencies.values()]
        for _ in range(10_000 // len(LANGUAGES)):
            words = [drawn.choice(names) for _ in range(drawn.randint(1, 3))]
            found.append(drawn.choice([" ", ", ", " - ", "  ", "\n", "'s ", "1234 "]).join(words))
    odd = [
        "",
        " ",
        "e\u0301t\u00e9 \u00c5\ufb01",
        "a\u200db \u00a0c",
        "\U0001f600 ok",
        "x" * 120,
        "tab\there",
        "\u4f60a\u597d",
    ]
    return [*found, *odd]


def wordpiece(lines, **options):
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(**options)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(
        lines, trainers.WordPieceTrainer(vocab_size=SIZE, special_tokens=SPECIALS, show_progress=False)
    )
    return made


def byte_level(lines, pattern="", **options):
    made = tokenizers.Tokenizer(models.BPE())
    last = pre_tokenizers.ByteLevel(use_regex=not pattern, **options)
    split = [pre_tokenizers.Split(Regex(pattern), behavior="isolated")] if pattern else []
    made.pre_tokenizer = pre_tokenizers.Sequence([*split, last]) if split else last
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        lines, trainers.BpeTrainer(vocab_size=SIZE, initial_alphabet=alphabet, show_progress=False)
    )
    made.add_special_tokens(["<|endoftext|>"])
    return made


def sentencepiece(lines):
    """Return a tokenizer as those of LLaMA 2: blanks are letters, and what has no token is bytes."""
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    made = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=["<unk>", "<s>", "</s>", *fallback],
        limit_alphabet=400,
        show_progress=False,
    )
    # Trained on words; what it is used on afterwards is cut into none.
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="never")
    made.train_from_iterator(lines, trainer)
    content = json.loads(made.to_str())
    content["pre_tokenizer"] = None
    content["added_tokens"] = content["added_tokens"][:3]
    return tokenizers.Tokenizer.from_str(json.dumps(content))


KINDS = {
    "uncased": lambda lines: wordpiece(lines, lowercase=True),
    "cased": lambda lines: wordpiece(lines, lowercase=False, strip_accents=False),
    "accents": lambda lines: wordpiece(
        lines, lowercase=True, strip_accents=False, handle_chinese_chars=False, clean_text=False
    ),
    "gpt2": lambda lines: byte_level(lines, add_prefix_space=False),
    "prefix": lambda lines: byte_level(lines, add_prefix_space=True),
    "llama3": lambda lines: byte_level(lines, WORDS["llama3"], add_prefix_space=False),
    "qwen2": lambda lines: byte_level(lines, WORDS["qwen2"], add_prefix_space=False),
    "llama": sentencepiece,
}


@pytest.mark.parametrize("kind", KINDS)
def test_token_ids_are_those_of_the_library(kind, lines, tmp_path):
    theirs = KINDS[kind](lines[::7])
    theirs.save(str(tmp_path / "tokenizer.json"))
    spec = json.loads(json.dumps(read_tokenizer(tmp_path)))
    ours = tokenizer_from(spec)
    assert ours.vocab_size == theirs.get_vocab_size()
    expected = theirs.encode_batch(lines, add_special_tokens=False)
    for line, ids, other in zip(lines, ours.encode_batch(lines), expected, strict=True):
        assert ids.tolist() == other.ids, line
    assert ours.spec() == spec
    if kind in ("gpt2", "llama3", "qwen2", "llama"):
        assert [ours.decode(ours.encode(line)) for line in lines[::50]] == lines[::50]
    # One text of many lines is encoded as a whole.
    if kind != "prefix":
        text = " ".join(lines[:3000:3])
        assert ours.encode(text).tolist() == theirs.encode(text, add_special_tokens=False).ids


def test_bert_s_special_tokens_keep_their_ids(lines, tmp_path):
    wordpiece(lines[::20]).save(str(tmp_path / "tokenizer.json"))
    ours = tokenizer_from(read_tokenizer(tmp_path))
    assert isinstance(ours, BertTokenizer)
    assert [ours.special[number] for number in (0, 2, 3, 4)] == list(SPECIAL_TOKENS)
    assert (ours.cls_id, ours.sep_id, ours.mask_id, ours.unknown) == (2, 3, 4, 1)
    assert ours.encode_masked("a [MASK] b").tolist()[1] == 4
    # A text that looks like a special token is text.
    assert not {0, 2, 3, 4} & set(ours.encode("[CLS] [PAD]").tolist())


@pytest.mark.parametrize("lower", [None, False])
def test_the_files_of_earlier_directories_are_read_as_transformers_reads_them(lower, lines, tmp_path):
    from transformers import BertTokenizer as Theirs

    vocabulary = wordpiece(lines[::20], lowercase=lower is None).get_vocab()
    (tmp_path / "vocab.txt").write_text(
        "".join(f"{token}\n" for token in sorted(vocabulary, key=vocabulary.get))
    )
    options = {} if lower is None else {"do_lower_case": lower}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(options))
    ours, theirs = tokenizer_from(read_tokenizer(tmp_path)), Theirs.from_pretrained(tmp_path)
    for line in lines[::101]:
        assert ours.encode(line).tolist() == theirs(line, add_special_tokens=False)["input_ids"], line


def test_vocabulary_and_merges_in_two_files_are_one_tokenizer(lines, tmp_path):
    theirs = byte_level(lines[::20], add_prefix_space=False)
    theirs.model.save(str(tmp_path))
    ours = tokenizer_from(read_tokenizer(tmp_path))
    assert [ours.encode(line).tolist() for line in lines[::101]] == [
        theirs.encode(line).ids for line in lines[::101]
    ]
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(ConfigError, match=r"needs merges\.txt"):
        read_tokenizer(tmp_path)


TEXTS = ["The cat, the dog!\r\nA caf\u00e9 \u4f60\u597d 123", "cafe\u0301 'quoted'  twice", "new\nline\tx"]


@pytest.mark.parametrize("special", [False, True], ids=["plain", "special"])
@pytest.mark.parametrize("kind", ["characters", "bytes", "words", "bpe", "wordpiece"])
def test_what_is_learnt_here_is_written_for_the_library_and_read_again(kind, special, tmp_path):
    from transformers import PreTrainedTokenizerFast

    options = {"max_vocab": None, "with_unknown": True, "special_tokens": special}
    ours = tokenizer_from(learn_tokenizer(kind, TEXTS[:2] * 3, **options).spec())
    for name, content in write_tokenizer(ours.spec(), 77).items():
        (tmp_path / name).write_bytes(content)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    again = tokenizer_from(read_tokenizer(tmp_path))
    for text in TEXTS:
        ids = ours.encode(text).tolist()
        assert theirs.encode(text, add_special_tokens=False).ids == ids
        assert again.encode(text).tolist() == ids
        assert again.decode(ids) == ours.decode(ids)
        around = [ours.cls_id, *ids, ours.sep_id] if special else ids
        assert theirs.encode(text).ids == around
    assert isinstance(again, BertTokenizer) == special
    if special:
        loaded = PreTrainedTokenizerFast.from_pretrained(tmp_path)
        pair = loaded(TEXTS[0], TEXTS[1], return_tensors="np")
        lengths = [len(ours.encode(text)) for text in TEXTS[:2]]
        assert pair["token_type_ids"].tolist() == [[0] * (lengths[0] + 2) + [1] * (lengths[1] + 1)]
        assert (loaded.pad_token, loaded.mask_token, loaded.model_max_length) == ("[PAD]", "[MASK]", 77)
    assert kind == "bytes" or again.spec() == ours.spec()


STEPS = {
    "unigram": ({"model": {"type": "Unigram", "vocab": {"a": 0}}}, "its model is Unigram"),
    "normalizer": ({"normalizer": {"type": "NFKC"}}, "its steps are normalizer NFKC"),
    "pre-tokenizer": ({"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer Whitespace"),
    "pattern": (
        {
            "normalizer": None,
            "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [
                    {
                        "type": "Split",
                        "pattern": {"Regex": "(a+)+$"},
                        "behavior": "Isolated",
                        "invert": False,
                    },
                    {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
                ],
            },
        },
        "it cuts words by",
    ),
    "prefix": (
        {"model": {"type": "WordPiece", "vocab": {"[UNK]": 0}, "continuing_subword_prefix": "@@"}},
        "'@@'",
    ),
    "holes": ({"model": {"type": "WordPiece", "vocab": {"[UNK]": 0, "a": 7}}}, "leave numbers out"),
    "words as ids": ({"model": {"type": "WordPiece", "vocab": {"[UNK]": "0"}}}, "whole numbers"),
    "no model": ({"model": None}, "has no model"),
    "merges": (
        {
            "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel"},
            "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
        },
        "of the 256 bytes",
    ),
    "steps": ({"normalizer": {"type": "Sequence", "normalizers": ["x"]}}, "sequence of steps"),
    "flags": ({"normalizer": {"type": "BertNormalizer", "lowercase": "yes"}}, "the tokenizer's rules"),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_tokenizer_of_other_steps_is_refused(name, lines, tmp_path):
    changes, text = STEPS[name]
    content = json.loads(wordpiece(lines[:50]).to_str()) | {"added_tokens": []} | changes
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=text):
        read_tokenizer(tmp_path)


def test_a_sentencepiece_file_alone_is_answered_with_what_converts_it(tmp_path):
    assert read_tokenizer(tmp_path) is None
    (tmp_path / "tokenizer.model").write_bytes(b"\n")
    with pytest.raises(ConfigError, match="AutoTokenizer"):
        read_tokenizer(tmp_path)


def test_ids_of_special_tokens_from_elsewhere_are_checked():
    inner = {"kind": "wordpiece", "vocabulary": ["[UNK]", "a", "b", "c"]}
    assert tokenizer_from({"kind": "marked", "of": inner, "ids": [0, 1, 2, 3]}).mask_id == 3
    for ids in ([0, 1, 2], [0, 1, 2, 2], [0, 1, 2, 4], [0, 1, 2, True], "0123", [0, 1, 2, 3, 3]):
        with pytest.raises(Exception, match="must be four tokens"):
            tokenizer_from({"kind": "marked", "of": inner, "ids": ids})
    assert np.int32 is tokenizer_from(inner).encode("a").dtype.type
