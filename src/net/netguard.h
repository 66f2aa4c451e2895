// Decides which addresses outgoing requests may reach (SSRF guard). Resolves a host once, refuses loopback,
// private, link-local, shared, multicast, documentation and otherwise special addresses (RFC 6890, also
// behind IPv4-mapped, NAT64 and 6to4 IPv6) unless the host is on the allow list, and hands back the checked
// addresses so that the connection is pinned to them: a second look-up can't answer otherwise.
#ifndef TS_NET_NETGUARD_H
#define TS_NET_NETGUARD_H

#include "base/err.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Patterns: "host", "host:port", "*.example.com" (any depth below), "10.0.0.0/8", "[::1]:9000", "*" (anything).
struct ts_netguard;

// `allowed` is the comma-separated list of a configuration value ("" allows only public addresses).
enum ts_err ts_netguard_create(const char *allowed, struct ts_netguard **out, struct ts_error *error) TS_MUST_USE;
void ts_netguard_destroy(struct ts_netguard *guard);

#define TS_NETGUARD_ADDRESSES_MAX 16
struct ts_addresses {
	struct sockaddr_storage address[TS_NETGUARD_ADDRESSES_MAX];
	size_t count;
};

// Whether this literal address is public. Pure; what the fuzz target and the tests call.
bool ts_netguard_address_is_public(const struct sockaddr *address);

// Resolves and checks. TS_ERR_NET_UNREACHABLE: does not resolve; TS_ERR_NET_FORBIDDEN: any resolved address is
// forbidden (all must be fine: a mixed answer is refused). Blocking; thread safe.
enum ts_err ts_netguard_resolve(const struct ts_netguard *guard, const char *host, uint16_t port,
                                struct ts_addresses *out, struct ts_error *error) TS_MUST_USE;

#endif
