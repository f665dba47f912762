"""Diabetes: 442 patients, ten measurements, progression after a year (Efron et al. 2004)."""

from nnkit.data.tables.base import ShippedTable


class Diabetes(ShippedTable):
    """442 patients, ten measurements in their own units, a score of disease progression one year later.

    B. Efron, T. Hastie, I. Johnstone and R. Tibshirani, "Least angle regression", Annals of Statistics, 2004.
    """

    holds = "real"
    file = "diabetes.csv"
    target = "progression"
