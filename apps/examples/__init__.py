"""Small inputs that ship with the app; see SOURCES.md."""
