"""Enlarge: photos enlarged in plausible variants."""
