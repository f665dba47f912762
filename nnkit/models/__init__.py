"""Model families: bodies that map features to features, one file a family."""
