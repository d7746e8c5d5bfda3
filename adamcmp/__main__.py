"""Where the command starts: signals are handled before anything is imported that takes time.

Importing torch makes a million objects that stay. Python would look through them for cycles once more when it ends, for
half a second to one. While it runs, it looks as often as ever: what own models leave in cycles may hold tensors.
"""

import atexit
import gc

from adamcmp import interrupts


def main() -> None:
    """Run the command line."""
    interrupts.handle()
    atexit.register(gc.freeze)
    from adamcmp.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
