#!/usr/bin/env python3
"""Peak memory of the worker and of its jailed decoder, for a short and a long file side by side."""
import argparse
import os
import pathlib
import queue
import subprocess

import service


def descendants(pid):
    found = []
    for children in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in children.read_text().split():
                found += [int(child), *descendants(int(child))]
        except OSError:
            pass
    return found


def peak_kb(pid):
    """The kernel's own high-water mark; 0 when the process has ended."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def measure(program, media):
    """Runs one job over the file; returns seconds and peaks of worker and decoder in MB."""
    with service.Service(program) as running:
        os.link(media, running.folder / "media.mp4")
        worker, decoder = 0, 0
        job, begun = running.submit(media_url=f"file://{running.folder}/media.mp4")
        while True:
            worker = max(worker, peak_kb(running.worker.pid))
            decoder = max([decoder, *(peak_kb(pid) for pid in descendants(running.worker.pid))])
            try:
                moment, event = running.receiver.received.get(timeout=0.05)
                break
            except queue.Empty:
                pass
        if event["type"] != "transcription.completed":
            raise RuntimeError(f"the job did not complete: {event}")
        worker = max(worker, peak_kb(running.worker.pid))
    return moment - begun, worker / 1024, decoder / 1024


def long_video(sample, minutes, folder):
    """The sample over and over, without encoding anything anew."""
    target = folder / f"{minutes}.mp4"
    subprocess.run(["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-stream_loop", "-1", "-i", sample,
                    "-t", str(minutes * 60), "-c", "copy", target], check=True)
    return target


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=int, nargs="+", default=[1, 60], help="lengths (default: 1 60)")
    parser.add_argument("--recognise-minutes", type=int, nargs="+", default=[1, 5],
                        help="lengths with the pocketsphinx engine, which takes its time (default: 1 5)")
    arguments = parser.parse_args()
    sample = next((service.ROOT / "samples").glob("*.mp4"))
    folder = service.BUILD / "bench-media"
    folder.mkdir(exist_ok=True)
    rows = []
    for name, program, lengths in [
        ("none (null engine)", service.BUILD / "bench/bench-worker", arguments.minutes),
        ("pocketsphinx", service.BUILD / "src/bin/transcription-worker", arguments.recognise_minutes),
    ]:
        first = None
        for minutes in lengths:
            took, worker, decoder = measure(program, long_video(sample, minutes, folder))
            first = first or worker + decoder
            grown = worker + decoder - first
            rows.append([name, minutes, f"{took:.1f}", f"{worker:.1f}", f"{decoder:.1f}", f"{grown:+.1f}"])
    service.table(["recogniser", "minutes", "seconds", "worker MB", "decoder MB", "grown MB"], rows)


if __name__ == "__main__":
    main()
