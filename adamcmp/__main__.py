"""Where the command starts: signals are handled before anything is imported that takes time.

Importing torch makes a million objects that stay. Python would look through them again and again for cycles, and once
more when it ends: a fifth of a second at the start, half a second to one at the end.
"""

import atexit
import gc

from adamcmp import interrupts

SELDOM = 100_000
"""New objects after which cycles are looked for."""


def main() -> None:
    """Run the command line."""
    interrupts.handle()
    gc.set_threshold(SELDOM)
    atexit.register(gc.freeze)
    from adamcmp.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
