"""Tabs of the app, one file each: a tab's file ends in ``TAB``, and ``apps.app.TABS`` lists them in order."""
