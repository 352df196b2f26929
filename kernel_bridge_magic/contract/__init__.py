"""The JSON that scripts and assistants read."""
