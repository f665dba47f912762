"""Wine: 178 wines, 13 chemical measurements, three cultivars (Aeberhard and Forina 1992)."""

from nnkit.data.tables.base import SHIPPED, TableData
from nnkit.data.tables.columns import ColumnOptions
from nnkit.data.tables.table_file import TableSource


class Wine(TableData):
    """178 Italian wines, 13 chemical measurements, three cultivars.

    S. Aeberhard and M. Forina, "Wine", UCI Machine Learning Repository, 1992.
    Arguments as in `TableData`.
    """

    holds = "index"

    def source(self) -> TableSource:
        """Return the file that comes with nnkit."""
        return TableSource(str(SHIPPED / "wine.csv"), target="class", columns=ColumnOptions(drop=()))
