"""What two families share; only models, embeds, heads and other layers import it."""
