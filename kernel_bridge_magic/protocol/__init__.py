"""The Jupyter messaging protocol as pure values and small machines: no socket, clock, file or thread.

`messages` are what travels, `frames` how a WebSocket carries them, `events` what a cell gives, `request` one
message and all that comes back, `link` what to believe when something does not come back, `outputs` what a
notebook would save.
"""
