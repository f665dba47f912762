"""What is learnt about runs and networks without training: comparison, shapes, a dry run, time."""
