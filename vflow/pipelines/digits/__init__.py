"""Drawing, restyling and classification of digits."""
