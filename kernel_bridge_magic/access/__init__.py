"""Who may have a secret, and where it may go: the floor on which every socket and file is opened."""
