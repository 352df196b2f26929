"""Make output of kernels that are not the user's own safe to show."""
