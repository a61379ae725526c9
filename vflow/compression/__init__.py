"""Lossless files under the likelihood of a model: colours, entropy coders, container."""
