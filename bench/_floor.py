"""The raw floor: one Lua round trip a step, by redis-py and hiredis, and nothing around it.

A step reads the state, appends a line and writes the state, in one script, as fast as a client can
that knows nothing of leases, fences, journals or sessions. `python -m bench._floor URL NAME
SESSIONS STEPS STATE_BYTES` connects, waits for its sign on standard input, works, and prints when
it began and ended.
"""

import sys
import time

from redis import Redis

SCRIPT = """
local state = redis.call('HGET', KEYS[1], 'state')
redis.call('XADD', KEYS[2], '*', 'e', ARGV[2])
redis.call('HSET', KEYS[1], 'state', ARGV[1])
return state
"""


def main() -> None:
    """Work each time a line arrives, until standard input closes."""
    url, name, sessions, steps, state_bytes = sys.argv[1:6]
    client = Redis.from_url(url)
    sha = client.script_load(SCRIPT)
    state, entry = "x" * int(state_bytes), '{"kind":"step","step":"compute","outcome":"succeeded"}'
    print("ready", flush=True)
    for line in sys.stdin:
        began = time.time()
        for number in range(int(sessions)):
            record, journal = f"floor:s:{name}:{line.strip()}:{number}", f"floor:j:{name}:{line.strip()}:{number}"
            for _ in range(int(steps)):
                client.evalsha(sha, 2, record, journal, state, entry)
        print(began, time.time(), flush=True)


if __name__ == "__main__":
    main()
