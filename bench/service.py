"""What the benches share: a private service (API and worker as processes of their own), a receiver, a table."""
import base64
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import queue
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build"))


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Receiver(http.server.HTTPServer):
    """Callbacks, with the moment at which each had arrived whole."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received = queue.Queue()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/callback"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        now = time.perf_counter()
        self.send_response(204)
        self.end_headers()
        self.server.received.put((now, json.loads(body)))

    def log_message(self, *_):
        pass


class Service:
    """A context: API and worker over a store in a folder of their own."""

    def __init__(self, worker, **settings):
        self.worker_program = worker
        self.settings = settings
        self.processes = []

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="transcription-bench-"))
        self.receiver = Receiver()
        self.port = free_port()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "LOG_LEVEL": "warn",
            "LOCAL_STORAGE_PATH": str(self.folder / "data"),
            "SERVICE_API_KEY": "bench",
            "CALLBACK_SECRET": "whsec_" + base64.b64encode(os.urandom(32)).decode(),
            "CALLBACK_ALLOWED_HOSTS": "127.0.0.1",
            "MEDIA_ALLOWED_HOSTS": "127.0.0.1",
            "MEDIA_FILE_ROOT": str(self.folder),
            "ENGINE": "pocketsphinx",
            "MAX_CONCURRENT_TRANSCRIPTIONS": "1",
            **self.settings,
        }
        try:
            self.start(BUILD / "src/bin/transcription-api")
            self.worker = self.start(self.worker_program)
            self.wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait()
        self.receiver.shutdown()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, program):
        process = subprocess.Popen([program], env=self.environment, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def wait_ready(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self.request("GET", "/health/ready")[0] == 200:
                    return
        raise RuntimeError("the service does not get ready")

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {"Authorization": "Bearer bench", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def submit(self, **fields):
        """Submits by JSON; returns the job and the moment of its 202."""
        fields = {"video_id": "bench", "user_id": "bench", "callback_url": self.receiver.url, **fields}
        return self._accepted(json.dumps(fields).encode(), "application/json")

    def upload(self, data):
        boundary = "bench-boundary"
        fields = {"video_id": "bench", "user_id": "bench", "callback_url": self.receiver.url}
        body = b"".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        )
        body += (f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
                 "Content-Type: audio/wav\r\n\r\n").encode() + data + f"\r\n--{boundary}--\r\n".encode()
        return self._accepted(body, f"multipart/form-data; boundary={boundary}")

    def _accepted(self, body, content_type):
        status, text = self.request("POST", "/api/v1/transcriptions", body, {"Content-Type": content_type})
        now = time.perf_counter()
        if status != 202:
            raise RuntimeError(f"{status}: {text.decode()}")
        return json.loads(text), now

    def callback(self, job, seconds=600):
        """Waits for the callback of a job; returns the moment of its arrival."""
        moment, event = self.receiver.received.get(timeout=seconds)
        if event["data"]["id"] != job["id"] or event["type"] != "transcription.completed":
            raise RuntimeError(f"an unexpected callback: {event}")
        return moment


def table(head, rows):
    """A Markdown table, which also reads well as it is."""
    rows = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    line = lambda row: "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
    print(line(rows[0]))
    print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    for row in rows[1:]:
        print(line(row))
