"""docs/performance.md: its tables and plots are drawn from docs/performance.json between markers, the prose is kept."""

import json
import os
import platform
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lines import AGAIN, COLUMNS, Line, from_plain
from measuring import table

DOCS = Path(__file__).parents[1] / "docs"
PAGE, RESULTS = "performance.md", "performance.json"
# Around what belongs to a part; between them nothing is kept.
_BEGIN, _END = "<!-- measured: {} -->", "<!-- end of {} -->"
# The bits of a processor that decide how fast a network trains.
_UNITS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8")
_PACKAGES = (
    *("torch", "lightning", "nnkit", "numpy", "pyarrow"),
    *("transformers", "accelerate", "keras", "skorch", "scikit-learn", "pandas"),
)
_COLORS = ("#08306b", "#c81e1e", "#00783c", "0.5", "#b35806", "#542788", "#1b9e77", "#666666")


def machine() -> dict[str, Any]:
    """Return the processor, and what runs on it."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()}, Python {platform.python_version()}",
        "date": datetime.now(UTC).date().isoformat(),
        "versions": versions,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    text = info.read_text()
    name = re.search(r"model name\s*: (.+)", text)
    flags = re.search(r"flags\s*: (.+)", text)
    units = [unit for unit in _UNITS if flags and unit in flags[1].split()]
    return f"{name[1] if name else platform.machine()} ({', '.join(units) or 'no vector units known here'})"


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what was measured so far, by part."""
    path = folder / RESULTS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def lines_of(part: Mapping[str, Any]) -> list[Line]:
    """Return the lines of a part."""
    return [from_plain(line) for line in part["lines"]]


def save(folder: Path, results: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the results, the page and its plots.

    Raises:
        ValueError: If the page has no place for a part.
    """
    page = folder / PAGE
    text = render(page.read_text(encoding="utf-8"), results)
    (folder / RESULTS).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    page.write_text(text, encoding="utf-8")
    for name, part in results.items():
        if any(line.series for line in lines_of(part)):
            draw_curves(lines_of(part), folder / f"performance-{name}.svg")
    draw_ratios(results, folder / "performance.svg")


def render(text: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page with what was measured between the markers.

    Args:
        text: The page.
        results: What was measured, by part; the places of other parts are left as they are.

    Raises:
        ValueError: If the page has no place for a part.
    """
    for name, part in results.items():
        begin, end = _BEGIN.format(name), _END.format(name)
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"{PAGE} has no one place for {name}: write `{begin}` and `{end}` once each")
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{section(name, part)}\n{end}{after}"
    return text


def section(name: str, part: Mapping[str, Any]) -> str:
    """Return the table of a part, on what it was measured, and its plot."""
    found, lines = part["machine"], lines_of(part)
    words = f"`python -m benchmarks{' --quick' if part['quick'] else ''} --only {name}`"
    about = [
        f"{words}, {found['date']}: {found['processor']}, {found['cores']} cores, {found['system']}, "
        + ", ".join(f"{package} {one}" for package, one in found["versions"].items())
        + f"; {part['rounds']} rounds"
    ]
    noise = [line.ratio for line in lines if line.what.startswith(AGAIN) and line.ratio]
    if noise:
        least, most = min(one.least for one in noise), max(one.most for one in noise)
        about.append(f"The same command against itself: {least:.2f} to {most:.2f}, the machine's noise")
    if part["quick"]:
        about.append("Tiny sizes and two rounds, which show that everything runs: no figure to rely on")
    pieces = [". ".join(about) + ".", table(COLUMNS, [line.cells() for line in lines])]
    if part["error"]:
        pieces.append(f"It did not reach its end: `{part['error'].splitlines()[-1]}`.")
    if any(line.series for line in lines):
        pieces.append(f"![Seconds of each size, by contender](performance-{name}.svg)")
    return "\n\n".join(pieces)


def draw_curves(lines: list[Line], path: Path) -> None:
    """Draw seconds over size, an axis for each thing that grows, a curve for each contender and number of threads."""
    # A curve is called "contender, what grows".
    grows: dict[str, dict[str, list[Line]]] = {}
    for line in lines:
        if line.series and line.wall and not line.what.startswith(AGAIN):
            contender, _, what = line.series.rpartition(", ")
            label = f"{contender}, {line.threads} thread{'s' * (line.threads > 1)}"
            grows.setdefault(what, {}).setdefault(label, []).append(line)
    figure = _figure(4.2 * len(grows), 3.6)
    for axes, (what, curves) in zip(
        figure.subplots(1, len(grows), squeeze=False)[0], grows.items(), strict=True
    ):
        for color, (label, points) in zip(_COLORS, curves.items(), strict=False):
            at, walls = [one.at for one in points], [one.wall.median for one in points if one.wall]
            axes.plot(at, walls, "o-", color=color, label=label, linewidth=1.2, markersize=3)
        axes.set(xscale="log", yscale="log", xlabel=what, ylabel="seconds")
        axes.legend(frameon=False, fontsize=7)
    _write(figure, path)


def draw_ratios(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw the ratios of all parts: the median as a dot, the range of the rounds as a line."""
    rows = [
        (f"{name}: {line.what}, {line.threads}", line.ratio)
        for name, part in results.items()
        for line in lines_of(part)
        if line.ratio and not line.series and not line.what.startswith(AGAIN)
    ]
    if not rows:
        return
    figure = _figure(7.5, 0.6 + 0.2 * len(rows))
    axes = figure.subplots()
    for place, (label, one) in enumerate(reversed(rows)):
        color = _COLORS[0] if "nnkit" in label else _COLORS[3]
        axes.plot([one.least, one.most], [place, place], color=color, linewidth=1)
        axes.plot(one.median, place, "o", color=color, markersize=3)
    axes.set_yticks(range(len(rows)), [label for label, _ in reversed(rows)], fontsize=6)
    axes.axvline(1.0, color="0.7", linewidth=0.8)
    axes.set(xscale="log", xlabel="time over that of the first in its table; the number is that of threads")
    _write(figure, path)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _write(figure: Any, path: Path) -> None:
    import matplotlib as mpl

    # The same figures give the same bytes.
    with mpl.rc_context({"svg.hashsalt": "nnkit", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})
