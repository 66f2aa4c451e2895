#!/usr/bin/env python3
"""Receives callbacks on loopback, checks their Standard Webhooks 1.0.0 signature and prints them.

By itself: `callback_receiver.py [--port 9000] [--secret whsec_...]`. The demo imports Receiver.
"""
import argparse
import base64
import binascii
import hashlib
import hmac
import http.server
import json
import os
import queue
import threading
import time

TOLERANCE_S = 300  # a signature older than that is a replay
BODY_MAX = 1 << 20


def verify(secret, headers, body, now=None):
    """None when the signature of a request holds, otherwise why it does not."""
    identity, stamp = headers.get("webhook-id"), headers.get("webhook-timestamp")
    signatures = headers.get("webhook-signature")
    if not identity or not stamp or not signatures:
        return "webhook-id, webhook-timestamp or webhook-signature is missing"
    if not stamp.isdigit() or abs((now or time.time()) - int(stamp)) > TOLERANCE_S:
        return f"the timestamp {stamp} is not within {TOLERANCE_S} seconds of now"
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        return "the secret is not whsec_ and base64"
    signed = f"{identity}.{stamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    if any(hmac.compare_digest(expected, one) for one in signatures.split(" ")):
        return None
    return "no signature matches"


class Receiver(http.server.ThreadingHTTPServer):
    """Listens once made; `received` is a queue of (headers, body, problem)."""

    daemon_threads = True

    def __init__(self, secret, port=0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.secret = secret
        self.received = queue.Queue()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/callback"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        length = self.headers.get("content-length", "")
        if not length.isdigit() or int(length) > BODY_MAX:
            self.send_error(413)
            return
        body = self.rfile.read(int(length))
        problem = verify(self.server.secret, self.headers, body) if self.server.secret else None
        self.send_response(401 if problem else 204)
        self.send_header("content-length", "0")
        self.end_headers()
        self.server.received.put((dict(self.headers.items()), body, problem))

    def log_message(self, *_):
        pass


def show(headers, body, problem, secret):
    for name in sorted(headers):
        if name.lower().startswith(("webhook-", "traceparent", "content-type")):
            print(f"{name.lower()}: {headers[name]}")
    if secret:
        print("signature: " + (f"does not hold: {problem}" if problem else "holds"))
    try:
        print(json.dumps(json.loads(body), indent=2, ensure_ascii=False))
    except ValueError:
        print(body.decode("utf-8", "replace"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=9000, help="port to listen on (default: %(default)s)")
    parser.add_argument("--secret", default=os.environ.get("CALLBACK_SECRET", ""),
                        help="whsec_... (default: $CALLBACK_SECRET); without one nothing is checked")
    arguments = parser.parse_args()
    receiver = Receiver(arguments.secret, arguments.port)
    print(f"listening on {receiver.url}", flush=True)
    try:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        while True:
            headers, body, problem = receiver.received.get()
            print()
            show(headers, body, problem, arguments.secret)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
