// Scripted HTTP server; see the header.
#include "http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 256

struct connection {
	pthread_t thread;
	struct http_server *server;
	int fd;
	bool open;
};

struct http_server {
	http_handler handler;
	void *ctx;
	int listener;
	uint16_t port;
	pthread_t thread;
	atomic_uint requests;
	pthread_mutex_t lock; // connections
	bool stopping;
	size_t count;
	struct connection connection[CONNECTIONS_MAX];
};

static void die(const char *what)
{
	perror(what);
	abort();
}

bool http_send(struct http_exchange *exchange, const void *bytes, size_t length)
{
	const char *at = bytes;

	while (length > 0) {
		ssize_t n = send(exchange->fd, at, length, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		at += n;
		length -= (size_t)n;
	}
	return true;
}

bool http_printf(struct http_exchange *exchange, const char *format, ...)
{
	char text[8192];
	va_list args;

	va_start(args, format);
	int length = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (length < 0 || (size_t)length >= sizeof text)
		abort();
	return http_send(exchange, text, (size_t)length);
}

bool http_answer(struct http_exchange *exchange, int status, const char *headers, const void *body, size_t length)
{
	return http_printf(exchange, "HTTP/1.1 %d Scripted\r\nContent-Length: %zu\r\nConnection: close\r\n%s\r\n", status,
	                   length, headers) &&
	       http_send(exchange, body, length);
}

const char *http_header(struct http_exchange *exchange, const char *name, char out[512])
{
	size_t length = strlen(name);

	for (const char *line = strstr(exchange->head, "\r\n"); line; line = strstr(line, "\r\n")) {
		line += 2;
		if (strncasecmp(line, name, length) != 0 || line[length] != ':')
			continue;
		const char *value = line + length + 1 + strspn(line + length + 1, " ");
		snprintf(out, 512, "%.*s", (int)strcspn(value, "\r\n"), value);
		return out;
	}
	return NULL;
}

void http_wait_closed(struct http_exchange *exchange)
{
	char scratch[4096];

	while (recv(exchange->fd, scratch, sizeof scratch, 0) > 0)
		;
}

void http_reset(struct http_exchange *exchange)
{
	// Linger of zero seconds: the close that follows sends RST.
	struct linger linger = {.l_onoff = 1};

	setsockopt(exchange->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

// Reads the head, and the body that Content-Length announces. False when the client went away before.
static bool read_request(struct http_exchange *exchange)
{
	size_t length = 0;
	char *end = NULL;
	char value[512];

	while (!end) {
		ssize_t n = recv(exchange->fd, exchange->head + length, sizeof exchange->head - 1 - length, 0);
		if (n <= 0)
			return false;
		length += (size_t)n;
		exchange->head[length] = '\0';
		end = strstr(exchange->head, "\r\n\r\n");
	}
	size_t head = (size_t)(end - exchange->head) + 4;
	const char *announced = http_header(exchange, "Content-Length", value);
	exchange->body_length = announced ? strtoul(announced, NULL, 10) : 0;
	exchange->body = calloc(1, exchange->body_length + 1);
	if (!exchange->body)
		abort();
	size_t have = length - head < exchange->body_length ? length - head : exchange->body_length;
	memcpy(exchange->body, end + 4, have);
	while (have < exchange->body_length) {
		ssize_t n = recv(exchange->fd, exchange->body + have, exchange->body_length - have, 0);
		if (n <= 0)
			return false;
		have += (size_t)n;
	}
	end[4] = '\0';
	return sscanf(exchange->head, "%15s %4095s", exchange->method, exchange->target) == 2;
}

static void *serve(void *arg)
{
	struct connection *connection = arg;
	struct http_server *server = connection->server;
	struct http_exchange *exchange = calloc(1, sizeof *exchange);

	if (!exchange)
		abort();
	exchange->server = server;
	exchange->fd = connection->fd;
	if (read_request(exchange)) {
		exchange->number = atomic_fetch_add(&server->requests, 1) + 1;
		server->handler(server->ctx, exchange);
	}
	pthread_mutex_lock(&server->lock);
	connection->open = false;
	close(connection->fd);
	pthread_mutex_unlock(&server->lock);
	free(exchange->body);
	free(exchange);
	return NULL;
}

static void *accept_loop(void *arg)
{
	struct http_server *server = arg;

	for (;;) {
		int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			return NULL;
		pthread_mutex_lock(&server->lock);
		if (server->stopping || server->count == CONNECTIONS_MAX) {
			close(fd);
		} else {
			struct connection *connection = &server->connection[server->count++];
			*connection = (struct connection){.server = server, .fd = fd, .open = true};
			if (pthread_create(&connection->thread, NULL, serve, connection) != 0)
				die("pthread_create");
		}
		pthread_mutex_unlock(&server->lock);
	}
}

struct http_server *http_server_start(http_handler handler, void *ctx)
{
	struct http_server *server = calloc(1, sizeof *server);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;

	if (!server)
		abort();
	server->handler = handler;
	server->ctx = ctx;
	pthread_mutex_init(&server->lock, NULL);
	server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server->listener < 0 || bind(server->listener, (const struct sockaddr *)&address, sizeof address) != 0 ||
	    listen(server->listener, 64) != 0 || getsockname(server->listener, (struct sockaddr *)&address, &length) != 0)
		die("http_server");
	server->port = ntohs(address.sin_port);
	if (pthread_create(&server->thread, NULL, accept_loop, server) != 0)
		die("pthread_create");
	return server;
}

void http_server_stop(struct http_server *server)
{
	if (!server)
		return;
	pthread_mutex_lock(&server->lock);
	server->stopping = true;
	for (size_t i = 0; i < server->count; i++)
		if (server->connection[i].open)
			shutdown(server->connection[i].fd, SHUT_RDWR);
	pthread_mutex_unlock(&server->lock);
	shutdown(server->listener, SHUT_RDWR); // wakes accept
	pthread_join(server->thread, NULL);
	for (size_t i = 0; i < server->count; i++)
		pthread_join(server->connection[i].thread, NULL);
	close(server->listener);
	pthread_mutex_destroy(&server->lock);
	free(server);
}

uint16_t http_server_port(const struct http_server *server)
{
	return server->port;
}

unsigned http_server_requests(const struct http_server *server)
{
	return atomic_load(&server->requests);
}

const char *http_server_url(const struct http_server *server, const char *path, char out[512])
{
	snprintf(out, 512, "http://127.0.0.1:%u%s", (unsigned)server->port, path);
	return out;
}
