"""Evaluation of checkpoints on held-out data: a module per kind of model, and their shared parts."""
