"""One run from its start to its end: train, resume, test, verify."""
