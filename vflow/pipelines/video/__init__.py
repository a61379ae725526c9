"""Futures of clips, and their likelihood."""
