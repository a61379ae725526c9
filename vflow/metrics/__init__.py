"""Measures of quality: likelihood, fidelity, plausibility and diversity."""
