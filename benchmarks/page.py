"""docs/performance.md: its tables and plots are drawn from docs/performance.json between markers, the prose is kept."""

import json
import os
import platform
import re
from collections.abc import Iterable, Mapping
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
_BEGIN_OF_ANY = re.compile(_BEGIN.format(r"(\w+)"))
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


def save(folder: Path, results: Mapping[str, Mapping[str, Any]], parts: Iterable[str]) -> None:
    """Write the results, the page and its plots.

    Args:
        folder: Where they are.
        results: What was measured, by part.
        parts: All parts there are; a result of another one, which an earlier version measured, is dropped.

    Raises:
        ValueError: If the page has no place for a part.
    """
    page = folder / PAGE
    text = render(page.read_text(encoding="utf-8"), {name: results.get(name) for name in parts})
    results = {name: results[name] for name in parts if name in results}
    (folder / RESULTS).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    page.write_text(text, encoding="utf-8")
    for name, part in results.items():
        draw(lines_of(part), folder / _plot(name))


def render(text: str, results: Mapping[str, Mapping[str, Any] | None]) -> str:
    """Return the page with what was measured between the markers.

    Args:
        text: The page.
        results: What was measured, by part; None: it was not measured yet, and the table has its head alone.

    Raises:
        ValueError: If the page has no place for a part, or one for a part there is none of.
    """
    if others := set(_BEGIN_OF_ANY.findall(text)) - {*results}:
        raise ValueError(f"{PAGE} has places for other parts than there are: {', '.join(sorted(others))}")
    for name, part in results.items():
        begin, end = _BEGIN.format(name), _END.format(name)
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"{PAGE} has no one place for {name}: write `{begin}` and `{end}` once each")
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        shown = section(name, part) if part else f"{_unmeasured(name)}\n\n{table(COLUMNS, [])}"
        text = f"{before}{begin}\n{shown}\n{end}{after}"
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
    noise = [line.ratio for line in lines if line.contender == AGAIN and line.ratio]
    if noise:
        least, most = min(one.least for one in noise), max(one.most for one in noise)
        about.append(f"The same command against itself: {least:.2f} to {most:.2f}, the machine's noise")
    if part["quick"]:
        about.append("Tiny sizes and two rounds, which show that everything runs: no figure to rely on")
    pieces = [". ".join(about) + ".", table(COLUMNS, [line.cells() for line in lines])]
    if part["error"]:
        pieces.append(f"It did not reach its end: `{part['error'].splitlines()[-1]}`.")
    if any(line.ratio for line in lines):
        pieces.append(f"![The table as a plot]({_plot(name)})")
    return "\n\n".join(pieces)


def _unmeasured(name: str) -> str:
    return f"Not measured yet on a quiet machine: `python -m benchmarks --only {name}`."


def _plot(name: str) -> str:
    return f"performance-{name}.svg"


def draw(lines: list[Line], path: Path) -> None:
    """Draw seconds over size where something grows, else ratios; nothing where there are none."""
    if any(line.series for line in lines):
        _draw_curves(lines, path)
    elif any(line.ratio for line in lines):
        _draw_ratios([line for line in lines if line.ratio], path)


def _draw_curves(lines: list[Line], path: Path) -> None:
    """Draw an axis for each thing that grows, a curve for each contender and number of threads."""
    grows: dict[str, dict[str, list[Line]]] = {}
    for line in lines:
        if line.series and line.wall and line.contender != AGAIN:
            label = f"{line.contender}, {_threads(line)}"
            grows.setdefault(line.series, {}).setdefault(label, []).append(line)
    figure = _figure(4.2 * len(grows), 3.6)
    for axes, (what, curves) in zip(
        figure.subplots(1, len(grows), squeeze=False)[0], grows.items(), strict=True
    ):
        for color, (label, points) in zip(_COLORS, curves.items(), strict=False):
            at, walls = [one.at for one in points], [one.wall.median for one in points if one.wall]
            axes.plot(at, walls, "o-", color=color, label=label, linewidth=1.2, markersize=3)
        axes.set(xscale="log", yscale="log", xlabel=what, ylabel="seconds")
        _plain_ticks(axes.xaxis)
        _plain_ticks(axes.yaxis)
        axes.legend(frameon=False, fontsize=7)
    _write(figure, path)


def _threads(line: Line) -> str:
    return f"{line.threads} thread{'s' * (line.threads > 1)}"


def _draw_ratios(lines: list[Line], path: Path) -> None:
    """Draw the median as a dot, the range of the rounds as a bar."""
    figure = _figure(7.5, 0.8 + 0.22 * len(lines))
    axes = figure.subplots()
    for place, line in enumerate(reversed(lines)):
        assert line.ratio is not None
        color = _COLORS[0] if line.contender.startswith(("nnkit", "data=")) else _COLORS[3]
        axes.plot([line.ratio.least, line.ratio.most], [place, place], color=color, linewidth=1.2)
        axes.plot(line.ratio.median, place, "o", color=color, markersize=3.5)
    labels = [f"{line.what}, {_threads(line)}" for line in reversed(lines)]
    axes.set_yticks(range(len(lines)), labels, fontsize=7)
    axes.axvline(1.0, color="0.7", linewidth=0.8)
    axes.set(xscale="log", xlabel="seconds over those of the first line of the table")
    _plain_ticks(axes.xaxis)
    _write(figure, path)


def _plain_ticks(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers, more of them where it is short."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    short = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
    steps = (1.0,) if high > 100 * low else (1.0, 2.0, 5.0) if high > 6 * low else short
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _write(figure: Any, path: Path) -> None:
    import matplotlib as mpl

    # The same figures give the same bytes.
    with mpl.rc_context({"svg.hashsalt": "nnkit", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})
