"""What a trained run says of inputs that a user names."""
