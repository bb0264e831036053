"""Two workers of plain.py, as from two terminals that get the same Ctrl-C."""

import subprocess
import sys

if __name__ == "__main__":
    workers = [subprocess.Popen([sys.executable, "plain.py"]) for _ in range(2)]
    sys.exit(max(abs(worker.wait()) for worker in workers))
