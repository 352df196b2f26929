"""The JSON that scripts and assistants read: its fields, and their JSON Schema."""
