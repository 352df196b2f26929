"""What the magics, the command line and Python share: known servers, open connections, running a cell."""
