"""Tokenizers of directories: tokenizer.json, vocab.txt, or vocab.json with merges.txt, and the spec of ours.

What is read is the vocabulary, the merges, and the few options that are data. A tokenizer whose steps are others than
those that nnkit knows is refused, as its token ids would differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from nnkit.data.tokenizing import SPECIAL_TOKENS, BertTokenizer, Rules, tokenizer_from
from nnkit.data.tokenizing.library import BLANK, BY_SCRIPT, UNKNOWN, WORDS, LibraryTokenizer, byte_letters
from nnkit.files.json_limits import MAX_BYTES
from nnkit.files.paths import check_file
from nnkit.hugging_face.files import MANY_VALUES, read_object, refused, refusing

FILE: Final = "tokenizer.json"
OPTIONS: Final = "tokenizer_config.json"
_VOCAB_TEXT, _VOCAB_JSON, _MERGES = "vocab.txt", "vocab.json", "merges.txt"
# What a tokenizer learnt here does first: line ends become line feeds, and a letter with its accents one character.
_CLEANED: Final = [
    {"type": "Replace", "pattern": {"Regex": "\\r\\n?"}, "content": "\n"},
    {"type": "NFC"},
]
# Each character is a token.
_EACH: Final = {"type": "Split", "pattern": {"Regex": "[\\s\\S]"}, "behavior": "Isolated", "invert": False}
_UNK_CHARACTER: Final = "<unk>"
_SENTENCEPIECE: Final = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
# The longest word that wordpiece cuts, in characters.
_LONGEST: Final = 100


def read_tokenizer(folder: Path) -> dict[str, Any] | None:
    """Return the spec of the tokenizer of a directory, for `nnkit.data.tokenizing.tokenizer_from`; None without one.

    Raises:
        ConfigError: If it cannot be read, or is of another kind.
    """
    options = read_object(folder / OPTIONS) if (folder / OPTIONS).exists() else {}
    if (path := folder / FILE).exists():
        content = read_object(path, MANY_VALUES)
        with refusing(path):
            spec = _spec_of(content)
    elif (path := folder / _VOCAB_TEXT).exists():
        with refusing(path):
            rules = _text_rules(options)
            words = [line.removesuffix("\r") for line in _lines(path)]
            spec = _with_special(words, lambda tokens: _wordpiece(tokens, rules))
    elif (path := folder / _VOCAB_JSON).exists():
        with refusing(path):
            spec = _bpe(_in_order(read_object(path, MANY_VALUES)), _merge_lines(folder), Rules())
    else:
        if found := [name for name in _SENTENCEPIECE if (folder / name).exists()]:
            hint = (
                'write tokenizer.json beside it: python -c "from transformers import AutoTokenizer; '
                f"AutoTokenizer.from_pretrained('{folder}').save_pretrained('{folder}')\""
            )
            raise refused(folder, f"has {found[0]} without {FILE}, and that is not read", hint)
        return None
    with refusing(path):
        tokenizer_from(spec)
    return spec


def _lines(path: Path) -> list[str]:
    check_file(path, MAX_BYTES)
    return path.read_text("utf-8").removesuffix("\n").split("\n")


def _merge_lines(folder: Path) -> list[str]:
    path = folder / _MERGES
    if not path.exists():
        raise ValueError(f"bpe needs {_MERGES} beside it")
    lines = _lines(path)
    return lines[1:] if lines[0].startswith("#version") else lines


def _text_rules(options: Mapping[str, Any]) -> Rules:
    """Return the rules of BERT's vocab.txt; where nothing says otherwise, capital letters are read as small ones."""
    return Rules.restore(
        {
            "lowercase": options.get("do_lower_case", True),
            "strip_accents": options.get("strip_accents"),
            "chinese": options.get("tokenize_chinese_chars", True),
        }
    )


def _in_order(ids: Any, added: Any = ()) -> list[str]:
    """Return the tokens in the order of their ids, which must be 0, 1, 2 and so on."""
    if not isinstance(ids, dict) or not isinstance(added, list | tuple):
        raise ValueError("its vocabulary must give each token an id")
    ids = dict(ids)
    for token in added:
        if not isinstance(token, dict) or not isinstance(token.get("content"), str):
            raise ValueError("its added_tokens must have a content and an id")
        ids[token["content"]] = token.get("id")
    if not all(type(number) is int for number in ids.values()):
        raise ValueError("the ids of its tokens must be whole numbers")
    tokens = sorted(ids, key=ids.__getitem__)
    if [ids[token] for token in tokens] != list(range(len(tokens))):
        raise ValueError("the ids of its tokens leave numbers out, or give one twice")
    return tokens


def _spec_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec of what tokenizer.json holds; a ValueError if it is of another kind."""
    model, steps = content.get("model"), _types(content.get("normalizer"))
    if not isinstance(model, dict):
        raise ValueError("it has no model")
    vocabulary = _in_order(model.get("vocab"), content.get("added_tokens") or ())
    if steps[: len(_CLEANED)] != _CLEANED:
        return _with_special(vocabulary, lambda tokens: _plain_spec(content, model, tokens))
    rest = {**content, "normalizer": {"type": "Sequence", "normalizers": steps[len(_CLEANED) :]}}
    return _with_special(vocabulary, lambda tokens: _plain_spec(rest, model, tokens) | {"form": "NFC"})


def _plain_spec(
    content: Mapping[str, Any], model: Mapping[str, Any], vocabulary: list[str]
) -> dict[str, Any]:
    """Return the spec of a vocabulary without special tokens."""
    kind = model.get("type") or ("BPE" if "merges" in model else None)
    if kind == "WordPiece":
        _expect(model, continuing_subword_prefix="##", unk_token=UNKNOWN, max_input_chars_per_word=_LONGEST)
        return _wordpiece(vocabulary, _bert_rules(content))
    if kind == "BPE":
        _expect(model, dropout=None, continuing_subword_prefix=(None, ""), end_of_word_suffix=(None, ""))
        merges = [
            " ".join(map(str, merge)) if isinstance(merge, list) and len(merge) == 2 else merge
            for merge in model.get("merges") or ()
        ]
        return _bpe(vocabulary, merges, _bpe_rules(content, model))
    if kind == "WordLevel":
        return _whole_words(vocabulary, content)
    raise ValueError(f"its model is {kind}; what can be read is WordPiece and BPE")


def _whole_words(vocabulary: list[str], content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec of characters or words, as `write_tokenizer` writes them."""
    cuts = _types(content.get("pre_tokenizer"))
    if not _types(content.get("normalizer")) and len(cuts) == 1:
        if cuts[0] == _EACH:
            with_unknown = vocabulary[:1] == [_UNK_CHARACTER]
            letters = "".join(vocabulary[with_unknown:])
            return {"kind": "characters", "vocabulary": letters, "with_unknown": with_unknown}
        if cuts[0].get("pattern") == {"Regex": BY_SCRIPT}:
            return {"kind": "words", "vocabulary": vocabulary, "by_script": True}
    raise ValueError(
        f"its steps are {_steps(content)}; of WordLevel only those that nnkit writes can be read"
    )


def _expect(node: Mapping[str, Any], **expected: Any) -> None:
    """Raise a ValueError where an option that is there has another value than those expected."""
    for name, values in expected.items():
        allowed = values if isinstance(values, tuple) else (values,)
        if name in node and node[name] not in allowed:
            raise ValueError(f"{name} is {node[name]!r}; what can be read is {allowed[0]!r}")


def _types(node: Any) -> list[dict[str, Any]]:
    """Return the steps of a normalizer or pre-tokenizer, those of a sequence one by one."""
    if node is None:
        return []
    if not isinstance(node, dict):
        raise ValueError(f"{str(node)[:40]!r} is no step of a tokenizer")
    parts = next((node[name] for name in ("normalizers", "pretokenizers") if name in node), None)
    if node.get("type") != "Sequence" or not isinstance(parts, list):
        return [node]
    if not all(isinstance(part, dict) for part in parts):
        raise ValueError("its sequence of steps holds something else")
    return parts


def _steps(content: Mapping[str, Any]) -> str:
    names = [
        f"{name} {' + '.join(str(step.get('type')) for step in _types(content.get(name))) or 'null'}"
        for name in ("normalizer", "pre_tokenizer")
    ]
    return " and ".join(names)


def _bert_rules(content: Mapping[str, Any]) -> Rules:
    normalizers, cuts = _types(content.get("normalizer")), _types(content.get("pre_tokenizer"))
    if [step.get("type") for step in (*normalizers, *cuts)] != ["BertNormalizer", "BertPreTokenizer"]:
        raise ValueError(
            f"its steps are {_steps(content)}; of WordPiece only BertNormalizer with BertPreTokenizer can be read"
        )
    (step,) = normalizers
    return Rules.restore(
        {
            "lowercase": step.get("lowercase", True),
            "strip_accents": step.get("strip_accents"),
            "chinese": step.get("handle_chinese_chars", True),
            "clean_text": step.get("clean_text", True),
        }
    )


def _bpe_rules(content: Mapping[str, Any], model: Mapping[str, Any]) -> Rules:
    normalizers, cuts = _types(content.get("normalizer")), _types(content.get("pre_tokenizer"))
    given: dict[str, Any] = {"ignore_merges": model.get("ignore_merges") or False}
    kinds = [step.get("type") for step in cuts]
    if not normalizers and kinds in (["ByteLevel"], ["Split", "ByteLevel"]):
        given["prefix_space"] = cuts[-1].get("add_prefix_space", True)
        return Rules.restore(given | {"words": _words(cuts)})
    if model.get("byte_fallback") is True:
        first, rest = _blank_steps(normalizers, cuts)
        if rest == []:
            return Rules.restore(given | {"words": "sentencepiece", "prefix_space": first})
    raise ValueError(
        f"its steps are {_steps(content)}; of BPE only byte-level ones can be read, "
        "and those of LLaMA with byte_fallback"
    )


def _words(cuts: list[dict[str, Any]]) -> str:
    """Return the name in `WORDS` of what cuts a text into words."""
    if len(cuts) == 1:
        _expect(cuts[0], use_regex=True)
        return "gpt2"
    split, last = cuts
    _expect(last, use_regex=False)
    _expect(split, behavior="Isolated", invert=False)
    pattern = split.get("pattern")
    text = pattern.get("Regex") if isinstance(pattern, dict) else None
    known = [name for name, regex in WORDS.items() if regex and regex == text]
    if not known:
        names = ", ".join(name for name, regex in WORDS.items() if regex)
        raise ValueError(
            f"it cuts words by {str(text)[:60]!r}; the patterns that can be read are those of {names}"
        )
    return known[0]


def _blank_steps(
    normalizers: list[dict[str, Any]], cuts: list[dict[str, Any]]
) -> tuple[bool, list[dict[str, Any]] | None]:
    """Return whether a text begins with a blank, and the steps left where blanks become letters; None: they do not."""
    if not cuts and normalizers and normalizers[-1].get("type") == "Replace":
        *first, replace = normalizers
        if replace.get("pattern") == {"String": " "} and replace.get("content") == BLANK:
            return bool(first), [
                step for step in first if (step.get("type"), step.get("prepend")) != ("Prepend", BLANK)
            ]
    return False, None


def _with_special(vocabulary: list[str], make: Callable[[list[str]], dict[str, Any]]) -> dict[str, Any]:
    """Return the spec of a tokenizer, with BERT's special tokens where the vocabulary has them."""
    count = len(SPECIAL_TOKENS)
    if tuple(vocabulary[:count]) == SPECIAL_TOKENS:
        return {"kind": "marked", "of": make(vocabulary[count:])}
    if not {*SPECIAL_TOKENS} <= {*vocabulary}:
        return make(vocabulary)
    return {"kind": "marked", "of": make(vocabulary), "ids": [*map(vocabulary.index, SPECIAL_TOKENS)]}


def _wordpiece(vocabulary: list[str], rules: Rules) -> dict[str, Any]:
    spec = {"kind": "wordpiece", "vocabulary": vocabulary}
    return spec | ({"rules": changed} if (changed := rules.spec()) else {})


def _bpe(vocabulary: list[str], merges: list[Any], rules: Rules) -> dict[str, Any]:
    spec: dict[str, Any] = {"kind": "bpe", "vocabulary": vocabulary, "merges": merges}
    return spec | ({"rules": changed} if (changed := rules.spec()) else {})


def write_tokenizer(spec: dict[str, Any], max_length: int | None) -> dict[str, bytes]:
    """Return tokenizer.json and tokenizer_config.json by name, from the spec of a tokenizer.

    Args:
        spec: From `nnkit.data.tokenizing.Tokenizer.spec`.
        max_length: Tokens that the model reads at most; None: any number.
    """
    tokenizer = tokenizer_from(spec)
    inner = spec["of"] if spec["kind"] == "marked" else spec
    document = _document(inner)
    special: dict[str, int] = {}
    if isinstance(tokenizer, BertTokenizer):
        special = {name: number for number, name in tokenizer.special.items()}
        if tokenizer.first:
            shifted = {
                token: number + tokenizer.first for token, number in document["model"]["vocab"].items()
            }
            document["model"]["vocab"] = special | shifted
        document["post_processor"] = _around(special)
    vocabulary = document["model"]["vocab"]
    if (unknown := document["model"].get("unk_token")) in vocabulary:
        special[unknown] = vocabulary[unknown]
    if inner.get("form") == "NFC":
        steps = [*_CLEANED, *_types(document["normalizer"])]
        document["normalizer"] = {"type": "Sequence", "normalizers": steps}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False) | {"special": True}
    ordered = sorted(special.items(), key=lambda one: one[1])
    document["added_tokens"] = [{"id": number, "content": name, **flags} for name, number in ordered]
    inputs = [
        "input_ids",
        *(["token_type_ids"] if isinstance(tokenizer, BertTokenizer) else []),
        "attention_mask",
    ]
    options: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_input_names": inputs,
    }
    if max_length is not None:
        options["model_max_length"] = max_length
    options |= {f"{name[1:-1].lower()}_token": name for name in special if name in _NAMED}
    return {
        FILE: json.dumps(document, ensure_ascii=False).encode(),
        OPTIONS: json.dumps(options, indent=2).encode(),
    }


_NAMED: Final = (*SPECIAL_TOKENS, UNKNOWN, _UNK_CHARACTER)


def _document(inner: dict[str, Any]) -> dict[str, Any]:
    """Return what tokenizer.json holds for a tokenizer without special tokens."""
    tokenizer = tokenizer_from(inner)
    if isinstance(tokenizer, LibraryTokenizer):
        return tokenizer.document()
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "normalizer": None,
        "post_processor": None,
    }
    if inner["kind"] == "bytes":
        return LibraryTokenizer("bpe", byte_letters()).document()
    tokens = [*([_UNK_CHARACTER] if inner["with_unknown"] else []), *inner["vocabulary"]]
    # The library wants an unknown token to be named, whether there is one or not.
    vocab = {token: number for number, token in enumerate(tokens)}
    model = {"type": "WordLevel", "vocab": vocab, "unk_token": _UNK_CHARACTER}
    return whole | {"pre_tokenizer": _EACH, "decoder": {"type": "Fuse"}, "model": model}


def _around(special: Mapping[str, int]) -> dict[str, Any]:
    """Return the step that puts [CLS] before and [SEP] behind each text of a pair."""
    begin, end = "[CLS]", "[SEP]"

    def token(name: str, segment: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": name, "type_id": segment}}

    def text(name: str, segment: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": segment}}

    single = [token(begin, 0), text("A", 0), token(end, 0)]
    tokens = {name: {"id": name, "ids": [special[name]], "tokens": [name]} for name in (begin, end)}
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, text("B", 1), token(end, 1)],
        "special_tokens": tokens,
    }
