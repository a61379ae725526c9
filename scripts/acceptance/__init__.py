"""What the project promises, measured: `make accept`."""
