"""Changes a dict and a queue again and again, each time as a whole, and says so before it begins."""

import itertools
import sys

import skerry

size = int(sys.argv[1])
state = skerry.Dict.from_name("whole", create_if_missing=True)
log = skerry.Queue.from_name("whole", create_if_missing=True)
for version in itertools.count(int(sys.argv[2])):
    print(f"version {version} begins", flush=True)
    state.update(dict.fromkeys(range(size), f"{version} {'x' * 300}"))
    log.put_many([(version, part) for part in range(size)])
    if version % 3 == 0:
        print(f"clear {version}", flush=True)
        state.clear()
    log.get_many(size)
