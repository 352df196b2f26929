"""How a cell ends, and what of its output is lost: everything that is concluded from messages and from silence."""
