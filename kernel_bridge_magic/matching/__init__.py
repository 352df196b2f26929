"""From what a user types to the kernel that is meant."""
