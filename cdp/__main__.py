"""`python -m cdp`, and the script `cdp`."""

import gc
import sys

from cdp.cli.app import main


def run() -> None:
    """Run one command line and end the process with its exit code."""
    code = main()
    gc.freeze()  # a large project's trees are let go by the system: to look through them once more takes a second
    sys.exit(code)


if __name__ == "__main__":
    run()
