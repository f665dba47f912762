"""What is done with many runs and long ones: listed, compared, examined, a finished sweep of many trials resumed."""

from collections.abc import Iterator
from functools import partial

from housekeeping import make_long, make_runs, make_sweep
from lines import Group, Limit, Line, Setting
from measuring import command

# Of each command.
_MEMORY = Limit(300, "peak")
_LIMITS = (Limit(1.0, "wall"), _MEMORY)


def measure(setting: Setting) -> Iterator[Line]:
    """Yield a line for each command, none of them beside another."""
    count, lines = setting.size(2_000, 4), setting.size(1_000_000, 1_000)
    places = {name: setting.folder / name for name in ("runs", "sweep", "long")}
    for place in places.values():
        place.mkdir()
    make_runs(places["runs"], count)
    make_sweep(places["sweep"], count)
    make_long(places["long"], lines)
    commands = {
        f"nnkit runs, {count:,} runs": ("runs", "runs"),
        f"nnkit compare, {count:,} runs": ("runs", "compare"),
        f"nnkit compare, a sweep of {count:,} trials": ("sweep", "compare", "many"),
        f"nnkit resume, a finished sweep of {count:,} trials": ("sweep", "resume", "many"),
        f"nnkit doctor, {lines:,} lines of metrics": ("long", "doctor", "long"),
        f"nnkit compare, {lines:,} lines of metrics": ("long", "compare", "long"),
    }
    for name, (place, *words) in commands.items():
        case = partial(command, *words, f"--output-dir={places[place] / 'outputs'}")
        # Doctor reads every line, behind a bar.
        limits = _MEMORY if "doctor" in words else _LIMITS
        yield from Group({name: case}, {name: limits}, noise=False).measure(setting)
