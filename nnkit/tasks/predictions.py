"""What tasks say of one item each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ranking:
    """The most probable classes of one item.

    Attributes:
        item: Name of the item.
        top: Class names and probabilities, most probable first.
    """

    item: str
    top: tuple[tuple[str, float], ...]

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.top[0][0]

    @property
    def probability(self) -> float:
        """Its probability."""
        return self.top[0][1]


@dataclass(frozen=True)
class Estimate:
    """The values predicted for one item, in the user's units.

    Attributes:
        item: Name of the item.
        values: Value of each target by its name.
    """

    item: str
    values: dict[str, float]


@dataclass(frozen=True)
class Written:
    """The text written from one item.

    Attributes:
        item: Name of the item.
        text: What was written.
    """

    item: str
    text: str


Prediction = Ranking | Estimate | Written
