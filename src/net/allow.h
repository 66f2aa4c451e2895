// The allow list of the guard: patterns of hosts, addresses and networks, and what they permit. Private to this
// room; the syntax stands in netguard.h.
#ifndef TS_NET_ALLOW_H
#define TS_NET_ALLOW_H

#include "base/err.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct ts_allow_list;

// Comma-separated patterns; "" or NULL gives an empty list.
enum ts_err ts_allow_list_create(const char *text, struct ts_allow_list **out, struct ts_error *error) TS_MUST_USE;
void ts_allow_list_destroy(struct ts_allow_list *list); // NULL-safe

// Whether a pattern covers this address of a host (lower case, without a trailing dot).
bool ts_allow_list_permits(const struct ts_allow_list *list, const char *host, uint16_t port,
                           const struct sockaddr_storage *address);

#endif
