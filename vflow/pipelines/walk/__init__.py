"""Latent walks."""
