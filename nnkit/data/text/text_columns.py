"""Which column or key holds the texts and which the labels: as the user says, or found out."""

import logging
from collections.abc import Sequence

from nnkit.errors import ConfigError, Problem
from nnkit.suggest import absent

_logger = logging.getLogger("nnkit")


def choose_columns(
    source: str,
    names: Sequence[str],
    lengths: Sequence[float],
    text: str | None,
    target: str | None,
    *,
    say: bool,
    noun: str = "column",
) -> dict[str, str]:
    """Tell the column of the texts and that of the labels.

    Args:
        source: The file, for sentences.
        names: Its columns, in their order.
        lengths: Mean length of what stands in each, in characters; 0 where it holds no texts.
        text: The one with the texts; None: that with the longest.
        target: The one with the labels; None: the last other one.
        say: Whether to log what is found out.
        noun: What a column is called: "column" or "key".

    Returns:
        The names of "text" and "target".

    Raises:
        ConfigError: If a name that is given is not there, or nothing is left for the other one.
    """
    problems = [
        absent(f"data.{key}", source, name, names, noun=noun)
        for key, name in (("text", text), ("target", target))
        if name is not None and name not in names
    ]
    if not problems and text is not None and text == target:
        problems.append(Problem("data.target", f"{text!r} holds the texts, it cannot be the target as well"))
    if not problems and len(names) < 2:
        found = f"only one {noun}, {names[0]!r}" if names else f"no {noun}s"
        problems.append(
            Problem("data.target", f"{source} has {found}: one of texts and one of labels are needed")
        )
    if problems:
        raise ConfigError(problems)
    if text is None:
        _, text = max((length, name) for length, name in zip(lengths, names, strict=True) if name != target)
        if say:
            _logger.warning("%s: the texts are in %s %r, the longest ones (data.text)", source, noun, text)
    if target is None:
        target = [name for name in names if name != text][-1]
        if say:
            _logger.warning("%s: the target is the last other %s, %r (data.target)", source, noun, target)
    return {"text": text, "target": target}
