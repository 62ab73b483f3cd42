# SPDX-License-Identifier: MIT
"""The other side of bench/run: after a warm-up, each line on stdin is answered by one timed round."""
import json
import resource
import sys
import time


def serve(body, pieces=None, **about):
    """pieces: what the body notes of its last call goes into the answer."""
    body()
    print(json.dumps({"ready": True, **about}), flush=True)
    for line in sys.stdin:
        least = float(line)
        calls = 0
        start = time.perf_counter()
        while True:
            body()
            calls += 1
            seconds = time.perf_counter() - start
            if seconds >= least:
                break
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": seconds / calls, "peak_rss": peak, "pieces": pieces or {}}), flush=True)
