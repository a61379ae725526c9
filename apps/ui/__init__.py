"""Tabs of the app, one file each, in the order shown."""
