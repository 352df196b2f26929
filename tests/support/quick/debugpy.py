"""In the place of debugpy, a quarter of a kernel's start that no test here needs: ipykernel goes without."""

raise ImportError("left out of the tests' kernels")
