"""A trained run as a web page and an HTTP endpoint: `nnkit serve`."""
