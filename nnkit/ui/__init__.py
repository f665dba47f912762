"""What a user sees: terminal, tables, drawings, messages."""
