"""Tasks wire a network to a loss and to metrics, as Lightning modules."""
