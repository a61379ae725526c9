"""The Surprise tab."""
