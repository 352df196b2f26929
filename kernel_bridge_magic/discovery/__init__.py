"""Which kernels there are: on servers of this user, on servers that were named, and without a server."""
