"""One peer of `bench peers`, in a process and with an interpreter of its own: rounds of sessions, as told.

    python side_main.py SIDE URL FOLDER     SIDE is the name of a module beside this one, without its `side_`

Each line of standard input says `SESSIONS STEPS`; each line of standard output says when that round began and ended. A round
puts its load in line, begins, lets this one process work it off, and checks that every session went through every step. Needs
the standard library and the peer.
"""

import sys
from importlib import import_module


def main() -> None:
    """Do what each line says."""
    name, url, folder = sys.argv[1:4]
    side = import_module(f"side_{name}").Side(url, folder)
    print("ready", flush=True)
    for line in sys.stdin:
        sessions, steps = map(int, line.split())
        print(*side.round(sessions, steps), flush=True)


if __name__ == "__main__":
    main()
