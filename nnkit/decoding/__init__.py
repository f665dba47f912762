"""Writing one token after the other: sampling and beam search; all they know of a network is its next step."""
