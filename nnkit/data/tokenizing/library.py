"""Tokenizers of the Hugging Face library: words, byte-level BPE and WordPiece; equal texts give equal vocabularies."""

import functools
import json
import logging
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from nnkit.data.tokenizing.base import Tokenizer, pieces, refuse_repeated, strings_of, visible
from nnkit.data.tokenizing.plain import count_code_points
from nnkit.errors import UserError

if TYPE_CHECKING:
    import tokenizers

_logger = logging.getLogger("nnkit")

UNKNOWN: Final = "[UNK]"
# Defaults: enough for a small corpus, with logits that a small machine can afford.
DEFAULT_VOCAB: Final = {"words": 20_000, "bpe": 4_096, "wordpiece": 4_096}
# BERT's own bound: rarer characters, such as those of other scripts, have no token.
_MAX_ALPHABET: Final = 1_000
# Characters that one thread encodes at a time.
_PIECE: Final = 1 << 14
_PARALLELISM: Final = "TOKENIZERS_PARALLELISM"
# No blank stands before a token that begins with one of these.
_CLOSING: Final = frozenset(".,;:!?)]}'%\u2019\u201d")
# Letters of scripts that have no blanks between words, as ranges of code points.
_HAN: Final = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_KATAKANA: Final = "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_HIRAGANA: Final = "\u3041-\u309f"
# Thai, Lao, Burmese, Khmer.
_CLUSTERED: Final = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ecf\u0edc-\u0edf\u1000-\u103f\u1050-\u109d\u1780-\u17d3"
)
_UNSPACED: Final = _HAN + _KATAKANA + _HIRAGANA + _CLUSTERED
# What each is called, and what it is cut into.
_SCRIPTS: Final = {
    _HAN: ("Chinese characters", "single characters"),
    _KATAKANA + _HIRAGANA: ("kana", "runs of hiragana and of katakana"),
    _CLUSTERED: ("Thai, Lao, Burmese or Khmer letters", "letters with their marks"),
}
# Between two of these, or of East Asian signs, stands no blank.
_TOUCHING: Final = re.compile(f"[{_UNSPACED}\u3000-\u3020\uff01-\uff65]")
# Words, runs of signs, and line breaks, which a language model learns as well.
_BLANK_SEPARATED: Final = r"\n|\w+|[^\w\s]+"
BY_SCRIPT: Final = "|".join(
    (
        r"\n",
        # Each is a word of its own, as for BERT (Devlin et al. 2019; tokenize_chinese_chars of its code).
        f"[{_HAN}]",
        # In Japanese a word mostly ends where the script changes.
        f"[{_KATAKANA}]+",
        f"[{_HIRAGANA}][{_HIRAGANA}\u30fc]*",
        # Clusters that writing never cuts: a letter, its marks, and the vowels written before and behind it
        # (Theeramunkong et al. 2000, "Character cluster based Thai information retrieval").
        rf"[\u0e40-\u0e44\u0ec0-\u0ec4]?[{_CLUSTERED}]\p{{M}}*[\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3]?",
        rf"[\w&&[^{_UNSPACED}]]+",
        r"[^\w\s]+",
    )
)
_FALLBACK: Final = [f"<0x{byte:02X}>" for byte in range(256)]
# The pattern of GPT-4's tokenizer, from which others are taken: endings, words, numbers, signs, and white space.
_LIKE_GPT4: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|NUMBERS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
# Share of the words of a vocabulary beyond which it is worth a warning that they are of such a script.
_MUCH: Final = 0.1


# What cuts a text into words before bpe, by the name that `Rules.words` has for it; the library knows GPT-2's itself.
WORDS: Final = {
    "gpt2": "",
    # Of LLaMA 3, whose numbers are cut into three digits, and of Qwen 2.
    "llama3": _LIKE_GPT4.replace("NUMBERS", r"\p{N}{1,3}"),
    "qwen2": _LIKE_GPT4.replace("NUMBERS", r"\p{N}"),
    # Nothing does: blanks are letters, and other characters without a token are bytes (Kudo and Richardson 2018).
    "sentencepiece": "",
}
BLANK: Final = "\u2581"


@dataclass(frozen=True)
class Rules:
    """How a published tokenizer reads a text, as plain data; the defaults are those of the tokenizers learnt here.

    Attributes:
        lowercase: Of wordpiece: whether capital letters are read as small ones.
        strip_accents: Of wordpiece: whether letters lose their accents; None: if they are made small.
        chinese: Of wordpiece: whether each Chinese character is a word.
        clean_text: Of wordpiece: whether control characters are left out, and all white space is blanks.
        words: Of bpe: what cuts a text into words, one of `WORDS`.
        prefix_space: Of bpe: whether a text begins with a blank, so that its first word is one like others.
        ignore_merges: Of bpe: whether a word that is a token is that one, whatever its merges make of it.
    """

    lowercase: bool = False
    strip_accents: bool | None = False
    chinese: bool = True
    clean_text: bool = True
    words: str = "gpt2"
    prefix_space: bool = False
    ignore_merges: bool = False

    @classmethod
    def restore(cls, given: Any) -> "Rules":
        """Make them from a spec's "rules"; a UserError if they are none."""
        if isinstance(given, dict) and given.keys() <= asdict(cls()).keys():
            rules = cls(**given)
            kinds = {name: type(value) for name, value in asdict(rules).items()}
            accents, words = kinds.pop("strip_accents"), kinds.pop("words")
            flags = {*kinds.values()} == {bool} and accents in (bool, type(None))
            if flags and words is str and rules.words in WORDS:
                return rules
        raise UserError(f"the tokenizer's rules are {', '.join(asdict(cls()))}, not {str(given)[:80]}")

    def spec(self) -> dict[str, Any]:
        """Return what differs from the defaults."""
        standard = asdict(Rules())
        return {name: value for name, value in asdict(self).items() if value != standard[name]}


LEARNT: Final = Rules()


class LibraryTokenizer(Tokenizer):
    """A tokenizer that the library runs.

    Args:
        kind: words, bpe or wordpiece.
        vocabulary: Text of each token, by id.
        merges: For bpe: pairs of tokens, separated by a blank, in the order in which they are merged.
        by_script: For words: whether scripts without blanks between words are cut as well (Chinese, Japanese, Thai,
            Lao, Khmer, Burmese). Vocabularies of earlier releases hold whole sentences of them.
        rules: Of wordpiece and bpe that come from a published model.
    """

    def __init__(
        self,
        kind: str,
        vocabulary: list[str],
        merges: Sequence[str] = (),
        *,
        by_script: bool = True,
        rules: Rules = LEARNT,
    ) -> None:
        self._kind, self._by_script, self._rules = kind, by_script, rules
        self._vocabulary = vocabulary
        self._merges = list(merges)
        self.vocab_size = len(vocabulary)
        ids = {text: token for token, text in enumerate(vocabulary)}
        self.unknown = None if kind == "bpe" else ids[UNKNOWN]
        pairs = [tuple(merge.split(" ", 1)) for merge in self._merges]
        self._library = _empty(kind, ids, pairs, by_script=by_script, rules=rules)

    @classmethod
    def learn(cls, kind: str, texts: Iterable[str], max_vocab: int | None) -> "LibraryTokenizer":
        """Learn a vocabulary of about `max_vocab` tokens; equal texts give equal vocabularies.

        Args:
            kind: words, bpe or wordpiece.
            texts: The texts, or pieces of one that cut no word. Wordpiece reads them twice.
            max_vocab: Tokens at most; None: `DEFAULT_VOCAB`.
        """
        size = max_vocab or DEFAULT_VOCAB[kind]
        if kind == "wordpiece" and iter(texts) is texts:
            texts = list(texts)
        trainer = _trainer(kind, size, texts)
        library = _empty(kind, {UNKNOWN: 0} if kind != "bpe" else {}, [])
        library.train_from_iterator(texts, trainer)
        ids = library.get_vocab()
        vocabulary = sorted(ids, key=ids.__getitem__)
        if kind == "words":
            _report_scripts(vocabulary)
        return cls(kind, vocabulary, _merges_of(library) if kind == "bpe" else ())

    @classmethod
    def restore(cls, spec: dict[str, Any]) -> "LibraryTokenizer":
        """Make it from its spec; a UserError if it is none."""
        kind, vocabulary = spec["kind"], strings_of(spec, "vocabulary")
        refuse_repeated(vocabulary)
        merges = strings_of(spec, "merges") if kind == "bpe" else []
        try:
            "".join((*vocabulary, *merges)).encode()
        except UnicodeEncodeError as error:
            raise UserError("the tokenizer holds half a surrogate pair, which is no character") from error
        known, rules = set(vocabulary), Rules.restore(spec.get("rules", {}))
        if kind != "bpe" and UNKNOWN not in known:
            raise UserError(f"the tokenizer's vocabulary lacks {UNKNOWN}")
        if kind == "bpe":
            lacking = set(_FALLBACK if rules.words == "sentencepiece" else _alphabet()) - known
            if lacking:
                raise UserError(f"the tokenizer's vocabulary lacks {len(lacking)} of the 256 bytes")
            for merge in merges:
                left, blank, right = merge.partition(" ")
                if not blank or not {left, right, left + right} <= known:
                    raise UserError(
                        f"the tokenizer's merges hold {merge[:80]!r}, which does not join two of its tokens"
                    )
        return cls(kind, vocabulary, merges, by_script=spec.get("by_script") is True, rules=rules)

    def encode(self, text: str) -> NDArray[np.int32]:
        """Encode a text; a long one in pieces, side by side, unless each piece would begin with a blank of its own."""
        if self._rules.prefix_space:
            return super().encode(text)
        return np.concatenate(self._encode(list(pieces(self.cleaned(text), _PIECE))))

    def _encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        whole = [_encodable(text) for text in texts]
        encodings = self._library.encode_batch_fast(whole, add_special_tokens=False)
        return [np.array(encoding.ids, np.int32) for encoding in encodings]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text: of bpe exactly; of words and wordpiece with a blank between words."""
        if self._kind == "bpe":
            text: str = self._library.decode([int(token) for token in tokens], skip_special_tokens=False)
            return text
        return "".join(_joined([self._vocabulary[token] for token in tokens], self._kind, self._by_script))

    def _starts(self, text: str) -> NDArray[np.int64]:
        # The kind decides whether a blank belongs to the token after it.
        encoding = self._library.encode(_encodable(text), add_special_tokens=False)
        return np.array([start for start, _ in encoding.offsets], np.int64)

    def _out_of_vocabulary(self, text: str) -> list[str]:
        if self.unknown is None:
            return []
        encoding = self._library.encode(_encodable(text), add_special_tokens=False)
        spans = zip(encoding.ids, encoding.offsets, strict=True)
        return list(dict.fromkeys(text[start:end] for token, (start, end) in spans if token == self.unknown))

    def token_text(self, token: int) -> str:
        """Return the text of the token; ## marks a part that continues a word."""
        text = self._vocabulary[token]
        if self._rules.words == "sentencepiece":
            return text.replace(BLANK, visible(" "))
        return visible(self.decode([token]) if self._kind == "bpe" else text)

    def document(self) -> dict[str, Any]:
        """Return what the library would write as tokenizer.json."""
        content: dict[str, Any] = json.loads(self._library.to_str())
        return content

    def _spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = {"kind": self._kind, "vocabulary": self._vocabulary}
        if self._kind == "bpe":
            spec["merges"] = self._merges
        elif self._kind == "words" and self._by_script:
            spec["by_script"] = True
        return spec | ({"rules": rules} if (rules := self._rules.spec()) else {})


@functools.cache
def _library() -> Any:
    """Import the library, and turn its threads off in forked processes, which would warn of them or hang."""
    import tokenizers

    if _PARALLELISM not in os.environ:
        os.environ[_PARALLELISM] = "true"
        os.register_at_fork(after_in_child=lambda: os.environ.__setitem__(_PARALLELISM, "false"))
    return tokenizers


def _empty(
    kind: str,
    ids: dict[str, int],
    merges: list[tuple[str, ...]],
    *,
    by_script: bool = True,
    rules: Rules = LEARNT,
) -> "tokenizers.Tokenizer":
    """Return the library's tokenizer with the pre-tokenizer and decoder of its kind."""
    if rules.words == "sentencepiece":
        return _sentencepiece(ids, merges, rules)
    library = _library()
    cut, models = library.pre_tokenizers, library.models
    made: tokenizers.Tokenizer
    if kind == "bpe":
        made = library.Tokenizer(models.BPE(vocab=ids, merges=merges, ignore_merges=rules.ignore_merges))
        pattern = WORDS[rules.words]
        bytes_of = cut.ByteLevel(add_prefix_space=rules.prefix_space, use_regex=not pattern)
        words = [cut.Split(library.Regex(pattern), behavior="isolated")] if pattern else []
        made.pre_tokenizer = cut.Sequence([*words, bytes_of]) if words else bytes_of
        made.decoder = library.decoders.ByteLevel()
    elif kind == "words":
        made = library.Tokenizer(models.WordLevel(vocab=ids, unk_token=UNKNOWN))
        pattern = library.Regex(BY_SCRIPT if by_script else _BLANK_SEPARATED)
        made.pre_tokenizer = cut.Split(pattern, behavior="removed", invert=True)
    else:
        made = library.Tokenizer(models.WordPiece(vocab=ids, unk_token=UNKNOWN))
        made.normalizer = library.normalizers.BertNormalizer(
            clean_text=rules.clean_text,
            handle_chinese_chars=rules.chinese,
            strip_accents=rules.strip_accents,
            lowercase=rules.lowercase,
        )
        made.pre_tokenizer = cut.BertPreTokenizer()
    return made


def _sentencepiece(
    ids: dict[str, int], merges: list[tuple[str, ...]], rules: Rules
) -> "tokenizers.Tokenizer":
    """Return the library's tokenizer of a whole text, its blanks as a letter, with bytes for unknown characters."""
    library = _library()
    model = library.models.BPE(
        vocab=ids, merges=merges, byte_fallback=True, ignore_merges=rules.ignore_merges
    )
    made: tokenizers.Tokenizer = library.Tokenizer(model)
    first = [library.normalizers.Prepend(BLANK)] if rules.prefix_space else []
    made.normalizer = library.normalizers.Sequence([*first, library.normalizers.Replace(" ", BLANK)])
    decoders = library.decoders
    parts = [decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse()]
    made.decoder = decoders.Sequence([*parts, *([decoders.Strip(" ", 1, 0)] if rules.prefix_space else [])])
    return made


def _trainer(kind: str, size: int, texts: Iterable[str]) -> Any:
    trainers = _library().trainers
    if kind == "bpe":
        return trainers.BpeTrainer(vocab_size=size, initial_alphabet=_alphabet(), show_progress=False)
    if kind == "words":
        return trainers.WordLevelTrainer(vocab_size=size, special_tokens=[UNKNOWN], show_progress=False)
    # By itself the trainer numbers the continuing characters in the order of a hash map, which changes each time.
    counts = count_code_points(texts)
    order = np.argsort(-counts, kind="stable")[: min(_MAX_ALPHABET, max(size // 4, 1))]
    alphabet = sorted(chr(point) for point in order.tolist() if counts[point] and not chr(point).isspace())
    return trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=[UNKNOWN, *(f"##{char}" for char in alphabet)],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )


def _alphabet() -> list[str]:
    alphabet: list[str] = _library().pre_tokenizers.ByteLevel.alphabet()
    return sorted(alphabet)


def byte_letters() -> list[str]:
    """Return the letter that byte-level bpe has for each byte, as GPT-2's `bytes_to_unicode`."""
    shown = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    beyond = iter(range(0x100, 0x200))
    return [chr(byte if byte in shown else next(beyond)) for byte in range(256)]


def _merges_of(library: "tokenizers.Tokenizer") -> list[str]:
    merges: list[list[str]] = json.loads(library.to_str())["model"]["merges"]
    return [" ".join(merge) for merge in merges]


def _encodable(text: str) -> str:
    # Half a surrogate pair, which only broken input holds, cannot be handed to the library.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _report_scripts(vocabulary: list[str]) -> None:
    for letters, (name, units) in _SCRIPTS.items():
        share = sum(re.match(f"[{letters}]", word) is not None for word in vocabulary) / len(vocabulary)
        if share > _MUCH:
            _logger.warning(
                "%.0f %% of the words are %s, which have no blanks between words: they are cut into %s; "
                "data.tokenizer=bpe learns longer pieces",
                *(100 * share, name, units),
            )


def _joined(words: list[str], kind: str, by_script: bool) -> Iterable[str]:
    before = "\n"
    for word in words:
        if kind == "wordpiece" and word.startswith("##") and len(word) > 2:
            word = word[2:]
        elif not (
            before == "\n"
            or word == "\n"
            or word[:1] in _CLOSING
            or (by_script and _TOUCHING.match(before[-1:]) and _TOUCHING.match(word))
        ):
            yield " "
        yield word
        before = word
