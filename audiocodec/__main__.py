"""`python -m audiocodec`: the command line."""

from __future__ import annotations

import sys

from audiocodec.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
