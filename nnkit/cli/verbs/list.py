"""`nnkit list [GROUP]`: the groups and their options, read from the option files alone."""

from pathlib import Path

from nnkit.cli.parser import Given
from nnkit.cli.verbs import CONFIG_DIR, Argument, Verb
from nnkit.config import catalog
from nnkit.ui.report import print_rows

VERB = Verb(
    "list",
    (
        Argument(
            "group",
            "GROUP",
            "one group, such as model (default: all groups)",
            required=False,
            complete="groups",
        ),
    ),
    (CONFIG_DIR,),
)
# The order in which a user thinks of them, most used first; whatever else there is follows.
_USUAL = (
    *(
        "model",
        "data",
        "task",
        "loss",
        "head",
        "optimizer",
        "scheduler",
        "trainer",
        "metrics",
        "callbacks",
        "logger",
    ),
)


def run(given: Given) -> int:
    """List all groups, or the options of one."""
    if given.group is None:
        _list_groups(given.config_dir)
    else:
        catalog.check_group(given.group)
        _list_options(given.group, given.config_dir)
    return 0


def _list_groups(config_dir: Path | None) -> None:
    groups = sorted(
        catalog.groups(), key=lambda group: _USUAL.index(group) if group in _USUAL else len(_USUAL)
    )
    options = {group: catalog.options(group, config_dir) for group in groups}
    rows = [(group, str(len(names)), ", ".join(names)) for group, names in options.items() if names]
    print_rows(("group", "options", "names"), rows)


def _list_options(group: str, config_dir: Path | None) -> None:
    default = catalog.defaults()[group]
    chosen = default if isinstance(default, list) else [default]
    users = catalog.user_dir()
    rows = []
    for name in catalog.options(group, config_dir):
        path = catalog.source(group, name, config_dir)
        is_users = users is not None and path is not None and path.is_relative_to(users)
        marks = [mark for mark, holds in (("default", name in chosen), ("yours", is_users)) if holds]
        rows.append((name, catalog.describe(group, name, config_dir), ", ".join(marks)))
    print_rows((group, "what it is", ""), rows)
