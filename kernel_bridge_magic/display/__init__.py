"""Showing here what came from there: sinks for each front end, the relay that feeds them, and tables."""
