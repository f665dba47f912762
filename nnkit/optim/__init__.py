"""Parameter groups and learning-rate schedules that torch.optim lacks."""
