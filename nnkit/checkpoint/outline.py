"""What a state that was read must look like before anything goes by it."""

from typing import Any

from torch import Tensor

from nnkit.checkpoint.formats import FORMAT, KEY

# What nnkit and Lightning read without looking; what is there must be of this kind.
_OUTLINE: dict[tuple[str, ...], tuple[type, ...]] = {
    ("state_dict",): (dict,),
    ("optimizer_states",): (list,),
    ("lr_schedulers",): (list,),
    ("loops",): (dict,),
    ("callbacks",): (dict,),
    ("epoch",): (int,),
    ("global_step",): (int,),
    ("pytorch-lightning_version",): (str,),
    (KEY, "config"): (str,),
    (KEY, "choices"): (dict,),
    (KEY, "preprocessing_sha256"): (str,),
    (KEY, "data_fingerprint"): (str, type(None)),
    (KEY, "num_lines"): (int, type(None)),
    (KEY, "stopped"): (bool,),
    (KEY, "gradients"): (dict, type(None)),
    (KEY, "generators"): (dict,),
    (KEY, "ranks"): (list,),
}
_NUMPY_NUMBERS = 624


def migrate(state: dict[str, Any]) -> dict[str, Any]:
    """Bring the state of an older release up to date; one of this release is returned as it is.

    Args:
        state: A checkpoint as it was loaded.

    Raises:
        ValueError: If it is not a checkpoint of nnkit, or one of a newer release.
    """
    ours = state.get(KEY)
    if not isinstance(ours, dict) or type(ours.get("format")) is not int:
        raise ValueError("it is not a checkpoint of nnkit")
    if ours["format"] > FORMAT:
        raise ValueError(
            f"it was written by a newer nnkit (format {ours['format']}, this one reads {FORMAT})"
        )
    if ours["format"] == 1:
        # The lines of metrics.jsonl are then told by their steps.
        added = {"num_lines": None, "stopped": False, "gradients": None, "data_fingerprint": None}
        ours = {**ours, **added}
    return {**state, KEY: {**ours, "format": FORMAT}}


def check_outline(state: dict[str, Any]) -> None:
    """Refuse a checkpoint in which something is not of the kind that its readers take for granted.

    Raises:
        ValueError: With the first that is not.
    """
    for path, kinds in _OUTLINE.items():
        place: Any = state
        for name in path[:-1]:
            place = place.get(name, {})
        if path[-1] in place and not isinstance(place[path[-1]], kinds):
            raise ValueError(f"its {'.'.join(path)} is of the wrong kind: {type(place[path[-1]]).__name__}")
    for name in ("optimizer_states", "lr_schedulers"):
        if not all(isinstance(one, dict) for one in state.get(name, [])):
            raise ValueError(f"its {name} hold something of the wrong kind")
    for name, value in state.get("state_dict", {}).items():
        if not isinstance(value, Tensor) and not str(name).endswith("_extra_state"):
            raise ValueError(f"its state_dict.{name} is no tensor")
    _check_generators(state[KEY].get("generators", {}))
    for one in state[KEY].get("ranks", []):
        if not isinstance(one, dict) or not isinstance(one.get("generators"), dict):
            raise ValueError("its ranks are of the wrong kind")
        _check_generators(one["generators"])


def _check_generators(generators: dict[str, Any]) -> None:
    """Refuse states of random generators that lead NumPy astray: it takes any position and reads there.

    Raises:
        ValueError: If they do.
    """
    generator = generators.get("numpy", [None, [], 0])
    if not isinstance(generator, list | tuple) or len(generator) < 3:
        raise ValueError("its generators are of the wrong kind")
    if not isinstance(generator[2], int) or not 0 <= generator[2] <= _NUMPY_NUMBERS:
        raise ValueError(f"its generators are of the wrong kind: position {generator[2]!r}")
