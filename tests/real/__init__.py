"""Real servers of many kinds and ages, each in a virtual environment of its own: `python -m tests.real`."""
