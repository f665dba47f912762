"""The versions of the checkpoint format: what each added, and how an older one is brought up to date."""

from typing import Any

# 1: nnkit 0.1.
# 2: the length of metrics.jsonl, whether the run had been stopped, gradients inside an accumulation window, the data's
#    fingerprint; the manifest names the best checkpoint.
FORMAT = 2

KEY = "nnkit"


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
        return {**state, KEY: {**ours, **added, "format": 2}}
    return state
