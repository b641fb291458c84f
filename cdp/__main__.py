"""`python -m cdp`."""

import sys

from cdp.cli.app import main

sys.exit(main())
