"""What a network's answers are worth: arrays and frames in and out; logs nothing, draws nothing."""
