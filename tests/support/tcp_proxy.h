// A TCP proxy on a loopback port, for breaking the network between a client and a real server: it passes bytes on, holds
// them back (nothing comes, nothing closes), delays them, or cuts all connections. One thread of its own.
#ifndef TESTS_SUPPORT_TCP_PROXY_H
#define TESTS_SUPPORT_TCP_PROXY_H

#include <stdint.h>

struct tcp_proxy;

// Aborts the program when it cannot start.
struct tcp_proxy *tcp_proxy_start(uint16_t target_port);
void tcp_proxy_stop(struct tcp_proxy *proxy);
uint16_t tcp_proxy_port(const struct tcp_proxy *proxy);

enum tcp_proxy_mode {
	TCP_PROXY_PASS,
	TCP_PROXY_HOLD,         // both ways; new connections are accepted and get no answer
	TCP_PROXY_HOLD_ANSWERS, // what the client sends arrives, answers do not come
	TCP_PROXY_REFUSE,       // new connections are closed at once
};
void tcp_proxy_set(struct tcp_proxy *proxy, enum tcp_proxy_mode mode);
// Every block of bytes waits that long before it is passed on.
void tcp_proxy_delay(struct tcp_proxy *proxy, int delay_ms);
// Closes all connections with a reset; returns when that is done.
void tcp_proxy_cut(struct tcp_proxy *proxy);
unsigned tcp_proxy_connections(struct tcp_proxy *proxy); // accepted so far

#endif
