// The spelling of a host in a URL or an allow list: a DNS name, a dotted quad, or a bracketed IPv6 address.
// Refuses every other way to write an address ("0x7f.1", "2130706433", "127.1", zone identifiers): resolvers
// and parsers disagree about those. Private to this room.
#ifndef TS_NET_HOST_H
#define TS_NET_HOST_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define TS_HOST_SIZE 256

enum ts_host_kind { TS_HOST_NAME, TS_HOST_IPV4, TS_HOST_IPV6 };

// Writes the canonical spelling: lower case, IPv6 in its shortest form without brackets. A name may end with
// one dot (a fully qualified name), which stays.
enum ts_err ts_host_parse(const char *text, size_t length, char out[TS_HOST_SIZE], enum ts_host_kind *out_kind,
                          struct ts_error *error) TS_MUST_USE;

#endif
