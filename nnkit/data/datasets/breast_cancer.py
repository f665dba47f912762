"""Breast cancer: 569 tumours, 30 measurements of cell nuclei, malignant or benign (Wolberg et al. 1995)."""

from nnkit.data.tables.base import ShippedTable


class BreastCancer(ShippedTable):
    """569 breast tumours, 30 measurements of their cell nuclei, malignant or benign.

    W. Wolberg, O. Mangasarian, N. Street and W. Street, "Breast Cancer Wisconsin (Diagnostic)", UCI Machine
    Learning Repository, 1995.
    """

    holds = "index"
    file = "breast_cancer.csv.gz"
    target = "diagnosis"
