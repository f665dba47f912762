"""Published files: fetched from one of several sources, and accepted by their SHA-256 only."""
