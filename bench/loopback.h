// Both ends of HTTP on loopback, on bare sockets: the client of the API (one connection, kept) and the receiver of
// callbacks (one request a connection, as the worker sends them). The receiver notes the time of each request's last
// byte before it answers.
#ifndef BENCH_LOOPBACK_H
#define BENCH_LOOPBACK_H

#include <stddef.h>
#include <stdint.h>

#define BENCH_MESSAGE_MAX 16384

struct bench_message {
	char text[BENCH_MESSAGE_MAX]; // head and body, NUL-terminated
	const char *body;             // within text
	size_t length;
	int64_t complete_ns; // monotonic: its last byte was read
};

// Connects.
int bench_client_connect(uint16_t port);
// `request`: the whole request. Returns the answer's status; ends the process when the connection breaks.
int bench_client_call(int fd, const char *request, struct bench_message *out_answer);

// Listens; *out_port is chosen by the system.
int bench_receiver_listen(uint16_t *out_port);
// Waits for the next request, reads it whole and answers 204. False: none came for timeout_ms.
_Bool bench_receiver_next(int listener, int timeout_ms, struct bench_message *out);

#endif
