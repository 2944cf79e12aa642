"""`python -m k2lib.cli` is `k2`."""

import sys

from k2lib.cli.main import main

sys.exit(main())
