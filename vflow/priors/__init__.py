"""Densities over latents."""
