"""Jupyter servers: their REST API and login, what they refuse, and which of them the user has named."""
