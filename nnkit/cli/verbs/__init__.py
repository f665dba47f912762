"""One file a verb: where the pieces meet."""
