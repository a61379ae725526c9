"""How good a checkpoint is on held-out data: one module per kind of model, and what they share."""
