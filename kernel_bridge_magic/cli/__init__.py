"""The command line: `kernel-bridge`."""
