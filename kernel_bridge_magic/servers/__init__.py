"""Jupyter servers: their REST API, what they refuse, and which of them the user has named."""
