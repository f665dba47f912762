"""Data that are arrays or Python objects of the user's: a NumPy file, or a Dataset of pairs."""
