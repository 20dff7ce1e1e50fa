"""A worker on a machine whose clock is ahead: `python skewed.py SECONDS worker ...`."""

import sys
import time

from workers.__main__ import main

if __name__ == "__main__":
    real, ahead = time.time, float(sys.argv[1])
    time.time = lambda: real() + ahead
    sys.exit(main(sys.argv[2:]))
