"""`python -m kernel_bridge_magic` is `kernel-bridge`."""

import sys

from kernel_bridge_magic.cli import main

sys.exit(main())
