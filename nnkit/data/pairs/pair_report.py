"""Reports on pairs of texts: how many there are, and which of them a network will not see whole."""

import logging

from torch import Tensor

from nnkit.data.base import Split
from nnkit.data.pairs.encoded_pairs import EncodedPairs, PairedTexts
from nnkit.data.pairs.pair_tokenizers import PairTokenizers
from nnkit.data.text.encoded_texts import EncodedTexts
from nnkit.data.tokenizing import Tokenizer, quoted

_logger = logging.getLogger("nnkit")

_SPOKEN: dict[Split, str] = {"train": "training", "val": "validation", "test": "test"}
# Share beyond which what is lost is worth a warning.
_MUCH = 0.03


def say_lost(
    paired: PairedTexts,
    tokenizers: PairTokenizers,
    pairs: EncodedPairs,
    rows: dict[Split, Tensor],
    kept: dict[Split, Tensor],
    *,
    max_length: int,
) -> None:
    """Log how many pairs each part has, and what was left out, cut or unknown.

    Args:
        paired: The pairs as texts.
        tokenizers: The tokenizers of both sides.
        pairs: The pairs as tokens.
        rows: Which pairs make up each part.
        kept: Which of them are used.
        max_length: Tokens after which sources were cut.
    """
    _logger.info(
        "%s: %s pairs to train on, %s for validation, %s for the test; %s different tokens read, %s written",
        *(paired.title, *(f"{len(kept[name]):,}" for name in ("train", "val", "test"))),
        *(f"{tokenizers.source_vocab_size:,}", f"{tokenizers.vocab_size:,}"),
    )
    for name, part in _SPOKEN.items():
        dealt, used = rows[name], kept[name]
        lost = len(dealt) - len(used)
        blank = int(((pairs.sources.lengths[dealt] == 0) | (pairs.target_lengths[dealt] == 1)).sum())
        if blank:
            _logger.warning("%s pairs with a side without a token, which are left out: %d", part, blank)
        if lost - blank:
            _say_share(
                lost - blank,
                len(dealt),
                f"training pairs have a side of more than {max_length} tokens and are left out (data.max_length)",
            )
        if name != "train":
            cut = int(pairs.sources.cut[used].sum())
            what = f"{part} sources are longer than {max_length} tokens and are cut there (data.max_length)"
            _say_share(cut, len(used), what)
    _say_unknown("source", tokenizers.source, tokenizers.source_unknown, pairs.sources, paired.sources)
    targets = [text for texts in paired.targets for text in texts]
    _say_unknown("target", tokenizers.target, tokenizers.target_unknown, pairs.targets, targets)


def _say_share(count: int, of: int, what: str) -> None:
    if count:
        level = logging.WARNING if count > _MUCH * of else logging.INFO
        _logger.log(level, "%s of %s (%.1f %%) %s", f"{count:,}", f"{of:,}", 100 * count / of, what)


def _say_unknown(
    side: str, tokenizer: Tokenizer, unknown: int | None, encoded: EncodedTexts, texts: list[str]
) -> None:
    count = int((encoded.tokens == unknown).sum()) if unknown is not None else 0
    if count:
        strange = dict.fromkeys(word for text in texts for word in tokenizer.out_of_vocabulary(text))
        what = f"{side} tokens are not in the vocabulary and count as unknown: {quoted([*strange])}"
        _say_share(count, len(encoded.tokens), what)
