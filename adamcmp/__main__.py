"""Where the command starts: signals are handled before anything is imported that takes time.

Importing torch makes a million objects that stay. Python would look through them for cycles once more when it ends, for
half a second to one.
"""

import atexit
import gc
import os
import sys

from adamcmp import garbage_collection, signals, standard_streams


def main() -> None:
    """Run the command line."""
    signals.install_handlers()
    standard_streams.guard_streams()
    if sys.flags.optimize and sys.executable:
        _start_with_assertions()
    garbage_collection.collect_seldom()
    atexit.register(gc.freeze)
    from adamcmp.cli import main as command_line

    try:
        command_line()
    except SystemExit as end:
        error = standard_streams.output_failure()
        if error is None or (end.code or 0) not in (0, 1):
            raise
        from adamcmp.cli.app import EXIT_USAGE

        reason = f"adamcmp: standard output cannot be written ({error.strerror}); finished runs are stored\n"
        sys.stderr.write(reason)
        sys.exit(EXIT_USAGE)


def _start_with_assertions() -> None:
    """Start again without PYTHONOPTIMIZE or -O: Hydra's parser of sweeps does its work in assertions."""
    sys.stderr.write("adamcmp: started again without PYTHONOPTIMIZE: Hydra needs Python's assertions\n")
    sys.stderr.flush()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONOPTIMIZE"}
    os.execve(sys.executable, [sys.executable, "-m", "adamcmp", *sys.argv[1:]], environment)


if __name__ == "__main__":
    main()
