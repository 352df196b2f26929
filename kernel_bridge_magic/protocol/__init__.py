"""The Jupyter messaging protocol as pure values and small machines: no socket, clock, file or thread.

`messages` are what travels, `frames` how a WebSocket carries them, `request` one message and all that comes back,
`events` what that means, `questions` when `input()` asks, `outputs` what a notebook would save, `tails` the end of a
long text, `comms` the messages of widgets, and `numbering` the numbers by which a lost message is noticed.
"""
