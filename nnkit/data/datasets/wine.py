"""Wine: 178 wines, 13 chemical measurements, three cultivars (Aeberhard and Forina 1992)."""

from nnkit.data.tables.base import ShippedTable


class Wine(ShippedTable):
    """178 Italian wines, 13 chemical measurements, three cultivars.

    S. Aeberhard and M. Forina, "Wine", UCI Machine Learning Repository, 1992.
    """

    holds = "index"
    file = "wine.csv"
    target = "class"
