"""`python -m cdp`, and the script `cdp`."""

import gc
import sys

from cdp.cli.app import main


def no_core_files() -> None:
    """A process that crashes leaves no file of its memory behind: it may hold rows. Processes that it starts inherit that."""
    try:
        import resource
    except ImportError:  # Windows, which writes none
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def run() -> None:
    """Run one command line and end the process with its exit code."""
    no_core_files()
    gc.set_threshold(50_000, 50, 100)  # what is imported and read stays: to look through it every 700 objects takes a tenth of a start
    code = main()
    gc.freeze()  # a large project's trees are let go by the system: to look through them once more takes a second
    sys.exit(code)


if __name__ == "__main__":
    run()
