"""Diabetes: 442 patients, ten measurements, progression after a year (Efron et al. 2004)."""

from nnkit.data.tables.base import SHIPPED, TableData
from nnkit.data.tables.columns import ColumnOptions
from nnkit.data.tables.table_file import TableSource


class Diabetes(TableData):
    """442 patients, ten measurements in their own units, a score of disease progression one year later.

    B. Efron, T. Hastie, I. Johnstone and R. Tibshirani, "Least angle regression", Annals of Statistics, 2004.
    Arguments as in `TableData`.
    """

    holds = "real"

    def source(self) -> TableSource:
        """Return the file that comes with nnkit."""
        return TableSource(
            str(SHIPPED / "diabetes.csv"), target="progression", columns=ColumnOptions(drop=())
        )
