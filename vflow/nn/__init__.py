"""Ordinary networks: conditioners and residual stacks. No log-dets here."""
