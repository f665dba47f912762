"""Breast cancer: 569 tumours, 30 measurements of cell nuclei, malignant or benign (Wolberg et al. 1995)."""

from nnkit.data.tables.base import SHIPPED, TableData
from nnkit.data.tables.columns import ColumnOptions
from nnkit.data.tables.table_file import TableSource


class BreastCancer(TableData):
    """569 breast tumours, 30 measurements of their cell nuclei, malignant or benign.

    W. Wolberg, O. Mangasarian, N. Street and W. Street, "Breast Cancer Wisconsin (Diagnostic)", UCI Machine
    Learning Repository, 1995.
    Arguments as in `TableData`.
    """

    holds = "index"

    def source(self) -> TableSource:
        """Return the file that comes with nnkit."""
        return TableSource(
            str(SHIPPED / "breast_cancer.csv.gz"), target="diagnosis", columns=ColumnOptions(drop=())
        )
