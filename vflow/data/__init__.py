"""Data sets and media files. Never imports models."""
