"""Callbacks named by conf/callbacks, and those that every run has."""
