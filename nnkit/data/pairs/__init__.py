"""Pairs: a text and its translation, or two sentences for the pre-training of BERT."""
