"""What all faces share: known servers, open connections, a cell that is run and shown."""
