"""Output of kernels that are not the user's own, made safe to show."""
