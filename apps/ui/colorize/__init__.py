"""The Colourise tab."""
