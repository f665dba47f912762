"""A trained network seen from inside: what each layer does with an input, as arrays, figures and a page."""
