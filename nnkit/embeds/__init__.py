"""Embeds: they turn one kind of input into what a body eats."""
