"""Tables: columns of numbers and categories, one of them the target."""
