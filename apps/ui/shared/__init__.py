"""Parts that all tabs use."""
