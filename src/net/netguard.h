// Decides which addresses outgoing requests may reach (SSRF guard). Resolves a host once, refuses loopback,
// private, link-local, shared, multicast, documentation and otherwise special addresses (RFC 6890, also
// behind IPv4-mapped, NAT64 and 6to4 IPv6) unless the host is on the allow list, and hands back the checked
// addresses so that the connection is pinned to them: a second look-up can't answer otherwise.
#ifndef TS_NET_NETGUARD_H
#define TS_NET_NETGUARD_H

#include "base/err.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Patterns: "host", "host:port", "*.example.com" (any depth below), "10.0.0.0/8", "fd00::/8", "10.1.2.3",
// "[::1]:9000", "*" (anything). A name pattern allows whatever that name resolves to; an address or network
// pattern allows these addresses, whatever name led to them.
struct ts_netguard;

// `allowed` is the comma-separated list of a configuration value ("" or NULL allows only public addresses).
enum ts_err ts_netguard_create(const char *allowed, struct ts_netguard **out, struct ts_error *error) TS_MUST_USE;
void ts_netguard_destroy(struct ts_netguard *guard); // NULL-safe

#define TS_NETGUARD_ADDRESSES_MAX 16
struct ts_addresses {
	struct sockaddr_storage address[TS_NETGUARD_ADDRESSES_MAX];
	size_t count;
};

// Whether this literal address is public. Pure; what the fuzz target and the tests call.
bool ts_netguard_address_is_public(const struct sockaddr *address);

// Resolves and checks. TS_ERR_NET_UNREACHABLE: does not resolve; TS_ERR_NET_FORBIDDEN: any resolved address is
// forbidden (all must be fine: a mixed answer is refused); TS_ERR_INVALID: not a host. The message never tells
// the address, so that it can be shown to users. `host` as in struct ts_url. guard NULL: anything may be
// reached. Blocking; thread safe.
enum ts_err ts_netguard_resolve(const struct ts_netguard *guard, const char *host, uint16_t port,
                                struct ts_addresses *out, struct ts_error *error) TS_MUST_USE;

// The same, given up after timeout_ms (TS_ERR_TIMEOUT; 0: none) or soon after *abort (NULL: none) becomes true
// (TS_ERR_ABORTED). The system's look-up cannot be stopped: it goes on in a thread of its own, which forgets
// the answer.
enum ts_err ts_netguard_resolve_within(const struct ts_netguard *guard, const char *host, uint16_t port,
                                       int64_t timeout_ms, const atomic_bool *abort, struct ts_addresses *out,
                                       struct ts_error *error) TS_MUST_USE;

// Replaces the system's look-up of names (literal addresses never come here), for tests of answers that the
// system's resolver will not give. Called in another thread, possibly after ts_netguard_resolve_within gave up.
typedef enum ts_err (*ts_netguard_lookup)(void *ctx, const char *host, uint16_t port, struct ts_addresses *out,
                                          struct ts_error *error);
void ts_netguard_set_lookup(struct ts_netguard *guard, ts_netguard_lookup lookup, void *ctx);

#endif
