"""Iris: 150 flowers, four lengths and widths in cm, three species (Fisher 1936)."""

from nnkit.data.tables.base import SHIPPED, TableData
from nnkit.data.tables.columns import ColumnOptions
from nnkit.data.tables.table_file import TableSource


class Iris(TableData):
    """150 iris flowers, four lengths and widths in centimetres, three species.

    R. A. Fisher, "The use of multiple measurements in taxonomic problems", 1936.
    Arguments as in `TableData`.
    """

    holds = "index"

    def source(self) -> TableSource:
        """Return the file that comes with nnkit."""
        return TableSource(str(SHIPPED / "iris.csv"), target="species", columns=ColumnOptions(drop=()))
