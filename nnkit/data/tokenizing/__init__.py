"""Tokenizers: from text to numbers and back."""
