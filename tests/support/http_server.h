// A small HTTP/1.1 server on a loopback port for tests, on bare sockets so that a script can lie: announce one
// length and send another, stall, cut a body, never stop. One thread accepts, one serves each connection, one
// request a connection. Refuses keep-alive, chunked requests, and waiting by time.
#ifndef TESTS_SUPPORT_HTTP_SERVER_H
#define TESTS_SUPPORT_HTTP_SERVER_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_server;

struct http_exchange {
	struct http_server *server;
	int fd;
	unsigned number; // of this request on this server, from 1
	char method[16];
	char target[4096]; // path and query as sent
	char head[32768];  // whole request head, NUL-terminated
	char *body;        // NUL-terminated; owned by the exchange
	size_t body_length;
};

typedef void (*http_handler)(void *ctx, struct http_exchange *exchange);

// Aborts the program when the server cannot start: nothing could be tested then.
struct http_server *http_server_start(http_handler handler, void *ctx);
// Breaks all connections, waits for their handlers, frees.
void http_server_stop(struct http_server *server);

uint16_t http_server_port(const struct http_server *server);
unsigned http_server_requests(const struct http_server *server); // so far
// "http://127.0.0.1:PORT" + path, into out. Returns out.
const char *http_server_url(const struct http_server *server, const char *path, char out[512]);

// The value of a request header (name without case), or NULL. Valid until the next call on this exchange.
const char *http_header(struct http_exchange *exchange, const char *name, char out[512]);

// False when the client is gone.
bool http_send(struct http_exchange *exchange, const void *bytes, size_t length);
bool http_printf(struct http_exchange *exchange, const char *format, ...) TS_PRINTF(2, 3);
// A whole answer with Content-Length. `headers` are complete lines ("A: b\r\n") or "".
bool http_answer(struct http_exchange *exchange, int status, const char *headers, const void *body, size_t length);

// Blocks until the client closes the connection or the server is stopped: what "the server stalls" means here.
void http_wait_closed(struct http_exchange *exchange);
// Closes with a reset (RST) instead of an orderly end.
void http_reset(struct http_exchange *exchange);

#endif
