"""nnkit: config-driven training of neural networks."""

__version__ = "0.1.0"
