"""Iris: 150 flowers, four lengths and widths in cm, three species (Fisher 1936)."""

from nnkit.data.tables.base import ShippedTable


class Iris(ShippedTable):
    """150 iris flowers, four lengths and widths in centimetres, three species.

    R. A. Fisher, "The use of multiple measurements in taxonomic problems", 1936.
    """

    holds = "index"
    file = "iris.csv"
    target = "species"
