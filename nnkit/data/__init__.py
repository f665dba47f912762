"""Datasets: read, split, prepared once and gathered into batches, one file a dataset."""
