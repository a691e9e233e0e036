"""`python -P -m steelyard.audit` is the command `steelyard`."""

from __future__ import annotations

import sys

from steelyard.audit.cli import main

if __name__ == "__main__":
    sys.exit(main())
