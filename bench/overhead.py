#!/usr/bin/env python3
"""Time of a job beyond recognition: from the 202 to the callback received, with a recogniser that does nothing.

The real API, store (durable commits), worker, jailed decoder and callback; one second of audio; one job at a time.
"""
import argparse
import functools
import http.server
import io
import math
import statistics
import struct
import threading
import wave

import service

BAR_MS = 50


def second_of_audio():
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(b"".join(struct.pack("<h", int(8000 * math.sin(i / 8))) for i in range(16000)))
    return out.getvalue()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def measure(running, submit, count):
    times = []
    for i in range(count + 5):
        job, accepted = submit()
        took = (running.callback(job) - accepted) * 1000
        if i >= 5:  # the first ones warm caches up
            times.append(took)
    times.sort()
    at = lambda part: times[min(len(times) - 1, int(part * len(times)))]
    return statistics.median(times), at(0.95), times[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200, help="jobs of each kind (default: %(default)s)")
    arguments = parser.parse_args()
    audio = second_of_audio()
    rows = []
    with service.Service(service.BUILD / "bench/bench-worker") as running:
        (running.folder / "a.wav").write_bytes(audio)
        media = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=running.folder))
        threading.Thread(target=media.serve_forever, daemon=True).start()
        kinds = {
            "upload": lambda: running.upload(audio),
            "media_url over HTTP": lambda: running.submit(media_url=f"http://127.0.0.1:{media.server_port}/a.wav"),
            "file below MEDIA_FILE_ROOT": lambda: running.submit(media_url=f"file://{running.folder}/a.wav"),
        }
        for name, submit in kinds.items():
            median, p95, worst = measure(running, submit, arguments.jobs)
            holds = "yes" if median < BAR_MS else "no"
            rows.append([name, arguments.jobs, f"{median:.1f}", f"{p95:.1f}", f"{worst:.1f}", BAR_MS, holds])
        media.shutdown()
    service.table(["way in", "jobs", "median ms", "p95 ms", "worst ms", "bar ms", "median under it"], rows)


if __name__ == "__main__":
    main()
