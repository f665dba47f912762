"""Lightweight fine-tuning: a few parameters are trained beside pre-trained weights that stay as they are."""
