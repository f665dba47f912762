"""Files that a user names, read as rows, columns or objects."""
