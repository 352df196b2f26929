"""Cells beside the one that is shown: on many kernels at once, and in the background."""
