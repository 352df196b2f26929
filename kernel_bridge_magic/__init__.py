"""Run a cell in another kernel that is already running, and see what it gives as if it had run here."""

__version__ = "0.1.0"
