#include "loopback.h"

#include "null_engine.h"
#include "place.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){
	    .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

// Reads a head and the body that its Content-Length announces.
static bool read_message(int fd, struct bench_message *out)
{
	size_t want = SIZE_MAX;

	out->length = 0;
	out->body = NULL;
	while (out->length < want) {
		if (out->length + 1 >= sizeof out->text)
			bench_die("an HTTP message is larger than %zu bytes", sizeof out->text);
		const ssize_t n = recv(fd, out->text + out->length, sizeof out->text - 1 - out->length, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		out->length += (size_t)n;
		out->text[out->length] = '\0';
		if (out->body)
			continue;
		const char *end = strstr(out->text, "\r\n\r\n");
		if (!end)
			continue;
		out->body = end + 4;
		const char *announced = strcasestr(out->text, "\r\nContent-Length:");
		const size_t body = announced && announced < end ? strtoul(announced + 17, NULL, 10) : 0;
		want = (size_t)(out->body - out->text) + body;
	}
	out->complete_ns = bench_now_ns();
	return true;
}

static bool write_all(int fd, const char *text)
{
	size_t left = strlen(text);

	while (left > 0) {
		const ssize_t n = send(fd, text, left, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		text += n;
		left -= (size_t)n;
	}
	return true;
}

int bench_client_connect(uint16_t port)
{
	const struct sockaddr_in address = loopback(port);
	const int one = 1;
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
		bench_die("cannot connect to the API: %s", strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

int bench_client_call(int fd, const char *request, struct bench_message *out_answer)
{
	int status;

	if (!write_all(fd, request) || !read_message(fd, out_answer))
		bench_die("the API closed the connection");
	if (sscanf(out_answer->text, "HTTP/1.1 %d", &status) != 1)
		bench_die("the API does not speak HTTP: %.60s", out_answer->text);
	return status;
}

int bench_receiver_listen(uint16_t *out_port)
{
	struct sockaddr_in address = loopback(0);
	socklen_t length = sizeof address;
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, length) != 0 || listen(fd, 128) != 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &length) != 0)
		bench_die("cannot listen for callbacks: %s", strerror(errno));
	*out_port = ntohs(address.sin_port);
	return fd;
}

bool bench_receiver_next(int listener, int timeout_ms, struct bench_message *out)
{
	struct pollfd poller = {.fd = listener, .events = POLLIN};

	if (poll(&poller, 1, timeout_ms) != 1)
		return false;
	const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		bench_die("cannot accept a callback: %s", strerror(errno));
	if (!read_message(fd, out) || !write_all(fd, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"))
		bench_die("a callback's connection broke");
	close(fd);
	return true;
}
