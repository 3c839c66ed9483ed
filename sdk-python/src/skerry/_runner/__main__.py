"""Starts the runner. Run as a file, not as a module: Python would look in the user's folders first."""

import sys

# Python compiles this file anew at every start, so it is short.
if __name__ == "__main__":
    folder = __file__.rpartition("/")[0]
    runtime = folder.rpartition("/")[0].rpartition("/")[0]
    if sys.path and sys.path[0] == folder:
        del sys.path[0]
    sys.path.insert(0, runtime)
    try:
        from skerry._runner.main import main

        main(runtime)
    except (
        KeyboardInterrupt
    ):  # with which the host stops what has not begun: it ends like that, but without a traceback
        from signal import SIG_DFL, SIGINT, raise_signal, signal

        signal(SIGINT, SIG_DFL)
        raise_signal(SIGINT)
