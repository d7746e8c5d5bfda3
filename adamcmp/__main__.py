"""Where the command starts: signals are handled before anything is imported that takes time."""

from adamcmp import interrupts


def main() -> None:
    """Run the command line."""
    interrupts.handle()
    from adamcmp.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
