"""Colouring of photographs and films."""
