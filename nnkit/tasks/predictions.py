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
class Labelled:
    """The labels of one item, any number of them.

    Attributes:
        item: Name of the item.
        labels: Those whose probability is at least a half, in the order of the data.
        top: Labels and probabilities, most probable first.
    """

    item: str
    labels: tuple[str, ...]
    top: tuple[tuple[str, float], ...]


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


Prediction = Ranking | Labelled | Estimate | Written
