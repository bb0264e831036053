"""``python -m sweepmore`` is the command ``sweepmore``."""

from sweepmore.command.main import main

if __name__ == "__main__":
    main()
