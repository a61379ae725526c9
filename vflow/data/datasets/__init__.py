"""Data sets that models are trained and measured on."""
