"""Tabs of the app, a folder each; ``apps.app.TABS`` lists them in order."""
