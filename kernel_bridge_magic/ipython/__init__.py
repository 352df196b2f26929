"""The magics: `%%remote`, `%remote`, `%kernels`, `%servers`."""
