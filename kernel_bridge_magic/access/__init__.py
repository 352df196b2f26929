"""Who may have a secret, and where it may go: here sockets and files are opened, and what only POSIX has is used."""
