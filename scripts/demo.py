#!/usr/bin/env python3
"""The client's half of the demo: submits a video over HTTP, shows progress, the transcript and the callback.
scripts/demo.sh starts the service and this; every request here is one a user could make with curl.
"""
import argparse
import difflib
import http.client
import json
import os
import pathlib
import queue
import re
import secrets
import shutil
import sys
import textwrap
import threading
import time
import urllib.parse

import callback_receiver

PLAIN = bool(os.environ.get("NO_COLOR")) or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb"
READY_S, JOB_S, CALLBACK_S = 60, 600, 60


def style(code, text):
    return text if PLAIN else f"\x1b[{code}m{text}\x1b[0m"


def bold(text):
    return style("1", text)


def dim(text):
    return style("2", text)


def green(text):
    return style("32", text)


def head(text):
    print(f"\n{bold(text)}")


def row(name, value, note=""):
    print(f"  {name:<17} {value}" + (f"  {dim(note)}" if note else ""))


class Failure(Exception):
    pass


class Api:
    """The service's HTTP API, one connection a request."""

    def __init__(self, url, key):
        self.address = urllib.parse.urlsplit(url).netloc
        self.key = key

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection(self.address, timeout=60)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {self.key}", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def json(self, method, path, expected, body=None, headers=None):
        status, answer_headers, text = self.request(method, path, body, headers)
        if status != expected:
            raise Failure(f"{method} {path} was answered {status}: {text.decode('utf-8', 'replace')[:500]}")
        return json.loads(text), answer_headers


def multipart(fields, name, media):
    """A multipart/form-data body as a stream of blocks: the file is never held in memory."""
    boundary = secrets.token_hex(16)
    front = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields.items()
    )
    front += (f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{media.name}"\r\n'
              "Content-Type: video/mp4\r\n\r\n")
    end = f"\r\n--{boundary}--\r\n"
    length = len(front.encode()) + media.stat().st_size + len(end)

    def blocks():
        yield front.encode()
        with media.open("rb") as file:
            while block := file.read(1 << 16):
                yield block
        yield end.encode()

    return blocks(), {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": str(length)}


def wait_ready(api, pid):
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            raise Failure("the service ended before it was ready") from None
        try:
            if api.request("GET", "/health/ready")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise Failure(f"the service was not ready after {READY_S} seconds")


def clock(seconds):
    return f"{int(seconds) // 60:02d}:{seconds % 60:04.1f}"


def draw(job):
    """One line about a job: a bar on a terminal, plain words elsewhere."""
    fraction, length = job["progress"] or 0, job["duration"]
    stage = (job["status"] == "processing" and job["stage"]) or job["status"]
    amount = f"{clock(fraction * length)} of {clock(length)}" if length else ""
    if PLAIN:
        return f"  {stage:<17} {fraction:4.0%}  {amount}".rstrip()
    cells = max(10, min(40, shutil.get_terminal_size().columns - 50))
    full = round(fraction * cells)
    return f"  {stage:<17} {green('━' * full)}{dim('━' * (cells - full))} {fraction:4.0%}  {dim(amount)}"


def follow(api, path):
    """Shows the job until its final state; returns it."""
    deadline, shown = time.monotonic() + JOB_S, None
    while time.monotonic() < deadline:
        job, _ = api.json("GET", path, 200)
        final = job["status"] in ("completed", "failed", "cancelled")
        line = draw(job)
        if PLAIN:
            # Where lines stay, each stage and each quarter is enough.
            mark = (job["status"], job["stage"], int((job["progress"] or 0) * 4))
            if mark != shown:
                print(line, flush=True)
                shown = mark
        else:
            print(f"\r\x1b[K{line}", end="\n" if final else "", flush=True)
        if final:
            return job
        time.sleep(0.1)
    raise Failure(f"the job had no final state after {JOB_S} seconds")


def words(text):
    return re.findall(r"[a-z0-9']+", text.lower())


def correct_words(said, heard):
    said, heard = words(said), words(heard)
    blocks = difflib.SequenceMatcher(None, said, heard, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks), len(said)


def show_transcript(transcript, media):
    head("Transcript")
    width = min(100, shutil.get_terminal_size().columns) - 21
    for segment in transcript["segments"]:
        lines = textwrap.wrap(segment["text"], max(30, width)) or [""]
        print(f"  {dim(clock(segment['start']) + ' → ' + clock(segment['end']))}  {lines[0]}")
        for line in lines[1:]:
            print(f"{'':21}{line}")
    if not transcript["segments"]:
        print(dim("  (no speech)"))
    beside = media.with_suffix(".txt")
    if beside.is_file():
        right, total = correct_words(beside.read_text(encoding="utf-8"), transcript["text"])
        print(dim(f"  {right} of {total} words as in {beside.name}, from which the speech was made"))


def save(api, path, media, folder):
    head("Files")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("srt", "vtt", "txt", "json"):
        status, _, text = api.request("GET", f"{path}/transcript?format={name}")
        if status != 200:
            raise Failure(f"the transcript as {name} was answered {status}")
        target = folder / f"{media.stem}.{name}"
        target.write_bytes(text)
        row(name.upper(), os.path.relpath(target))


def show_callback(receiver, job_id, secret):
    head("Callback received")
    try:
        headers, body, problem = receiver.received.get(timeout=CALLBACK_S)
    except queue.Empty:
        raise Failure(f"no callback came within {CALLBACK_S} seconds") from None
    for name, value in sorted(headers.items()):
        if name.lower().startswith("webhook-"):
            row(name.lower(), value)
    if problem:
        raise Failure(f"the callback's signature does not hold: {problem}")
    row("signature", green("holds"), "HMAC-SHA256, Standard Webhooks" if secret else "")
    event = json.loads(body)
    for line in json.dumps(event, indent=2, ensure_ascii=False).splitlines():
        print(f"  {line}")
    if event["data"]["id"] != job_id:
        raise Failure("the callback is about another job")


def run(arguments):
    api = Api(arguments.url, arguments.key)
    media = arguments.media
    receiver = callback_receiver.Receiver(arguments.secret)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()

    wait_ready(api, arguments.pid)
    head("Transcription, the whole way")
    row("video", os.path.relpath(media), f"{media.stat().st_size / 1024:.0f} KiB")
    row("service", arguments.url, "transcription serve")
    row("callbacks", receiver.url)

    head("Submit")
    fields = {"video_id": media.stem, "user_id": "demo", "callback_url": receiver.url}
    body, headers = multipart(fields, "file", media)
    job, answer_headers = api.json("POST", "/api/v1/transcriptions", 202, body, headers)
    path = f"/api/v1/transcriptions/{job['id']}"
    row("202", answer_headers.get("Location", path))

    head("Progress")
    begun = time.monotonic()
    job = follow(api, path)
    if job["status"] != "completed":
        raise Failure(f"the job {job['status']}: {job['error']}")
    took = time.monotonic() - begun

    transcript, _ = api.json("GET", f"{path}/transcript?format=json", 200)
    if transcript.get("duration"):
        print(dim(f"  {transcript['duration']:.1f} s of audio in {took:.1f} s"))
    show_transcript(transcript, media)
    save(api, path, media, arguments.out)
    show_callback(receiver, job["id"], arguments.secret)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True, help="of the service")
    parser.add_argument("--key", required=True, help="API key")
    parser.add_argument("--secret", required=True, help="whsec_... that signs callbacks")
    parser.add_argument("--pid", type=int, required=True, help="process of the service")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the transcript's files")
    parser.add_argument("media", type=pathlib.Path)
    try:
        run(parser.parse_args())
    except (Failure, OSError) as failure:
        print(f"\n{style('31', f'demo: {failure}')}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    sys.exit(main())
