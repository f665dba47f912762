"""What a user sees: terminal, tables, figures, messages."""
