// The proxy: one poll loop over all connections. Orders come through an eventfd; a cut is answered when it is done.
#include "tcp_proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAIRS_MAX 32
#define BLOCK 65536

// Bytes on their way from one end to the other.
struct flow {
	char block[BLOCK];
	size_t length;
	int64_t due; // not before
};

struct pair {
	bool used;
	int fd[2];           // client, server
	struct flow flow[2]; // from the client, from the server
};

struct tcp_proxy {
	int listener, orders;
	uint16_t port, target;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t done;
	enum tcp_proxy_mode mode; // and the rest: under lock
	int delay_ms;
	bool stop, cut;
	unsigned accepted;
	struct pair *pairs; // the thread's
};

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "tcp_proxy: %s: %s\n", what, strerror(errno));
	abort();
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void close_pair(struct pair *pair)
{
	const struct linger reset = {.l_onoff = 1};

	if (!pair->used)
		return;
	for (int i = 0; i < 2; i++) {
		setsockopt(pair->fd[i], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
		close(pair->fd[i]);
	}
	pair->used = false;
}

static void accept_one(struct tcp_proxy *proxy, bool refuse)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons(proxy->target), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const int one = 1;
	struct pair *pair = proxy->pairs;
	int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);

	if (client < 0)
		return;
	while (pair < proxy->pairs + PAIRS_MAX && pair->used)
		pair++;
	int server = refuse || pair == proxy->pairs + PAIRS_MAX ? -1 : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server < 0 || connect(server, (struct sockaddr *)&address, sizeof address) != 0) {
		if (server >= 0)
			close(server);
		close(client);
		return;
	}
	setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	*pair = (struct pair){.used = true, .fd = {client, server}};
}

static bool send_all(int fd, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		bytes += sent;
		length -= (size_t)sent;
	}
	return true;
}

// False: the connection is over.
static bool move(struct pair *pair, int from, bool readable, int delay_ms)
{
	struct flow *flow = &pair->flow[from];

	if (flow->length == 0 && readable) {
		ssize_t got = recv(pair->fd[from], flow->block, sizeof flow->block, MSG_DONTWAIT);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (got <= 0)
			return false;
		flow->length = (size_t)got;
		flow->due = now_ms() + delay_ms;
	}
	if (flow->length == 0 || now_ms() < flow->due)
		return true;
	if (!send_all(pair->fd[!from], flow->block, flow->length))
		return false;
	flow->length = 0;
	return true;
}

static bool is_held(enum tcp_proxy_mode mode, int from)
{
	return mode == TCP_PROXY_HOLD || (mode == TCP_PROXY_HOLD_ANSWERS && from == 1);
}

static void *run(void *arg)
{
	struct tcp_proxy *proxy = arg;
	struct pollfd fds[2 + 2 * PAIRS_MAX];

	for (;;) {
		uint64_t orders;
		int64_t next = -1;
		pthread_mutex_lock(&proxy->lock);
		enum tcp_proxy_mode mode = proxy->mode;
		int delay_ms = proxy->delay_ms;
		bool stop = proxy->stop;
		if (proxy->cut || stop) {
			for (size_t i = 0; i < PAIRS_MAX; i++)
				close_pair(&proxy->pairs[i]);
			proxy->cut = false;
			pthread_cond_broadcast(&proxy->done);
		}
		pthread_mutex_unlock(&proxy->lock);
		if (stop)
			return NULL;
		fds[0] = (struct pollfd){.fd = proxy->listener, .events = POLLIN};
		fds[1] = (struct pollfd){.fd = proxy->orders, .events = POLLIN};
		for (size_t i = 0; i < 2 * PAIRS_MAX; i++) {
			struct pair *pair = &proxy->pairs[i / 2];
			const struct flow *flow = &pair->flow[i % 2];
			bool open = pair->used && !is_held(mode, (int)(i % 2));
			fds[2 + i] = (struct pollfd){.fd = open && flow->length == 0 ? pair->fd[i % 2] : -1, .events = POLLIN};
			if (open && flow->length > 0 && (next < 0 || flow->due < next))
				next = flow->due;
		}
		int64_t wait = next < 0 ? -1 : next > now_ms() ? next - now_ms() : 0;
		if (poll(fds, 2 + 2 * PAIRS_MAX, (int)wait) < 0 && errno != EINTR)
			die("poll");
		if (fds[1].revents && read(proxy->orders, &orders, sizeof orders) < 0)
			die("orders");
		for (size_t i = 0; i < 2 * PAIRS_MAX; i++) {
			struct pair *pair = &proxy->pairs[i / 2];
			if (pair->used && !is_held(mode, (int)(i % 2)) &&
			    !move(pair, (int)(i % 2), fds[2 + i].revents != 0, delay_ms))
				close_pair(pair);
		}
		if (fds[0].revents) {
			pthread_mutex_lock(&proxy->lock);
			proxy->accepted++;
			bool refuse = proxy->mode == TCP_PROXY_REFUSE;
			pthread_mutex_unlock(&proxy->lock);
			accept_one(proxy, refuse);
		}
	}
}

struct tcp_proxy *tcp_proxy_start(uint16_t target_port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof address;
	struct tcp_proxy *proxy = calloc(1, sizeof *proxy);

	if (!proxy || !(proxy->pairs = calloc(PAIRS_MAX, sizeof *proxy->pairs)))
		die("memory");
	proxy->target = target_port;
	proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	proxy->orders = eventfd(0, EFD_CLOEXEC);
	if (proxy->listener < 0 || proxy->orders < 0 ||
	    bind(proxy->listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(proxy->listener, 16) != 0 ||
	    getsockname(proxy->listener, (struct sockaddr *)&address, &size) != 0)
		die("listen");
	proxy->port = ntohs(address.sin_port);
	pthread_mutex_init(&proxy->lock, NULL);
	pthread_cond_init(&proxy->done, NULL);
	if (pthread_create(&proxy->thread, NULL, run, proxy) != 0)
		die("thread");
	return proxy;
}

// With the lock.
static void order(struct tcp_proxy *proxy)
{
	const uint64_t one = 1;

	if (write(proxy->orders, &one, sizeof one) < 0)
		die("orders");
}

void tcp_proxy_stop(struct tcp_proxy *proxy)
{
	pthread_mutex_lock(&proxy->lock);
	proxy->stop = true;
	order(proxy);
	pthread_mutex_unlock(&proxy->lock);
	pthread_join(proxy->thread, NULL);
	close(proxy->listener);
	close(proxy->orders);
	pthread_cond_destroy(&proxy->done);
	pthread_mutex_destroy(&proxy->lock);
	free(proxy->pairs);
	free(proxy);
}

uint16_t tcp_proxy_port(const struct tcp_proxy *proxy)
{
	return proxy->port;
}

void tcp_proxy_set(struct tcp_proxy *proxy, enum tcp_proxy_mode mode)
{
	pthread_mutex_lock(&proxy->lock);
	proxy->mode = mode;
	order(proxy);
	pthread_mutex_unlock(&proxy->lock);
}

void tcp_proxy_delay(struct tcp_proxy *proxy, int delay_ms)
{
	pthread_mutex_lock(&proxy->lock);
	proxy->delay_ms = delay_ms;
	order(proxy);
	pthread_mutex_unlock(&proxy->lock);
}

void tcp_proxy_cut(struct tcp_proxy *proxy)
{
	pthread_mutex_lock(&proxy->lock);
	proxy->cut = true;
	order(proxy);
	while (proxy->cut)
		pthread_cond_wait(&proxy->done, &proxy->lock);
	pthread_mutex_unlock(&proxy->lock);
}

unsigned tcp_proxy_connections(struct tcp_proxy *proxy)
{
	pthread_mutex_lock(&proxy->lock);
	unsigned accepted = proxy->accepted;
	pthread_mutex_unlock(&proxy->lock);
	return accepted;
}
