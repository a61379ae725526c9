"""The Walk tab."""
