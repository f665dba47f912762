"""What a user sees at the end: tables."""

from pathlib import Path
from typing import Any

from rich.table import Table

from nnkit.ui.consoles import Console


def console() -> Console:
    """Return the console for results: standard output; a path or a name is never read as markup."""
    return Console(highlight=False, markup=False, emoji=False)


def number(value: float) -> str:
    """Return a metric with as many digits as a reader needs."""
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 else f"{value:.4g}"


def shorten(path: Path) -> str:
    """Return a path relative to the working directory where it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)


def results_table(metrics: dict[str, float], facts: dict[str, Any], title: str) -> Table:
    """Return the table of metrics and facts of one run."""
    table = Table(title=title, title_justify="left", show_header=False, title_style="bold", min_width=40)
    table.add_column(style="cyan")
    table.add_column(justify="right")
    for name, value in metrics.items():
        table.add_row(name, number(value), style="bold")
    if metrics and facts:
        table.add_section()
    for name, value in facts.items():
        table.add_row(name, str(value))
    return table
