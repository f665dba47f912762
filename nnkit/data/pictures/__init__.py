"""Images: decoded, augmented, split and gathered into batches."""
