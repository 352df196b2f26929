"""`kernel-bridge`, `jupyter kernel-bridge` and `python -m kernel_bridge_magic`: where they all begin.

Before anything else is imported, which takes a while, the signals that would end us without a word are made to wait:
`--json` prints its object from the first moment on.
"""

import sys

from kernel_bridge_magic.access.signals import postpone


def main() -> int:
    """Run the command line as a process of its own; return the exit status."""
    mask = postpone()
    from kernel_bridge_magic.cli.main import main

    return main(mask=mask)


if __name__ == "__main__":
    sys.exit(main())
