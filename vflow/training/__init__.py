"""Training: the only package that imports accelerate."""
