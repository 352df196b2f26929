"""One open connection to one kernel, and the cells that are sent over it."""
