"""A run opened to be served, by the same door as nnkit predict."""

from __future__ import annotations

from pathlib import Path

from nnkit.analysis.inspection.opening import inspected
from nnkit.runs.reopen import open_run
from nnkit.runs.run import find_run
from nnkit.serve.served import Served


def opened(spec: str, output_dir: Path) -> Served:
    """Find a run and rebuild its best checkpoint.

    Raises:
        UserError: If there is no such run, or it has no checkpoint.
        Refusal: If its data have no form in which they can be sent.
    """
    run = find_run(spec, output_dir)
    session = open_run(run).session
    about = inspected(run, session.task, session.data)
    return Served(about.title, session.task, session.data, str(session.config.data.kind), about.facts)
