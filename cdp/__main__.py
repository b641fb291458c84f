"""`python -m cdp`, and the script `cdp`."""

import gc
import os
import sys


def no_core_files() -> None:
    """A process that crashes leaves no file of its memory behind: it may hold rows. Processes that it starts inherit that."""
    try:
        import resource
    except ImportError:  # Windows, which writes none
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def keep_memory() -> None:
    """Let mimalloc, of Arrow and of the embedded engine, keep for a second what is free, unless the environment says otherwise.

    By default it gives it back after 10 ms, so that the system had to clear those pages again and again: a fifth of a delivery. It reads
    this when it is loaded, which is after a command was parsed. https://microsoft.github.io/mimalloc/environment.html
    """
    os.environ.setdefault("MIMALLOC_PURGE_DELAY", "1000")


def run() -> None:
    """Run one command line and end the process with its exit code."""
    no_core_files()
    keep_memory()
    gc.set_threshold(50_000, 50, 100)  # what is imported and read stays: to look through it every 700 objects takes a tenth of a start
    try:
        from cdp.cli.app import main  # a fifth of a second, in which somebody may have thought better of it

        code = main()
    except KeyboardInterrupt:  # before what takes care of it was there, or after
        sys.stderr.write("cdp: interrupted\n")
        code = 1
    gc.freeze()  # a large project's trees are let go by the system: to look through them once more takes a second
    sys.exit(code)


if __name__ == "__main__":
    run()
