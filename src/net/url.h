// Strict absolute URLs (RFC 3986) of the schemes the service knows, parsed by libcurl's URL parser, with what
// it forgives refused first: control characters, spaces, user information, odd spellings of addresses. A
// fragment is dropped: it is no part of a request.
#ifndef TS_NET_URL_H
#define TS_NET_URL_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define TS_URL_MAX 2048 // bytes

struct ts_url {
	char *scheme;  // lower case: "http", "https", "file", "s3"
	char *host;    // lower case; IPv6 without brackets; "" for file
	uint16_t port; // the scheme's default when absent; 0 for file and s3
	char *path;    // percent-encoded, starts with "/", without dot segments
	char *query;   // without "?"; NULL: none
};

void ts_url_finish(struct ts_url *url); // NULL-safe; the URL is empty afterwards
#define TS_AUTOURL TS_CLEANUP(ts_url_finish)

// `schemes` is a NULL-terminated list of those allowed here. The message says what is wrong, without a field.
enum ts_err ts_url_parse(const char *text, const char *const *schemes, struct ts_url *out,
                         struct ts_error *error) TS_MUST_USE;

// The whole URL again, a default port left out. Owned by the caller; NULL: out of memory.
char *ts_url_format(const struct ts_url *url) TS_MUST_USE;

// "host" or "host:port" where the port is not the scheme's default: how messages name a server. Path and query
// may hold secrets and are left out. Owned by the caller; NULL: out of memory.
char *ts_url_authority(const struct ts_url *url) TS_MUST_USE;

// Whether both have the same scheme, host and port (RFC 6454).
bool ts_url_same_origin(const struct ts_url *a, const struct ts_url *b);

// Resolves a reference ("../b?c", "//host/x", a whole URL) against base, as for a Location header: what servers
// forget to encode is percent-encoded, control characters are refused. `schemes` as in ts_url_parse.
enum ts_err ts_url_join(const struct ts_url *base, const char *reference, const char *const *schemes,
                        struct ts_url *out, struct ts_error *error) TS_MUST_USE;

// Percent-encodes everything but RFC 3986 unreserved characters. Owned by the caller; NULL: out of memory.
char *ts_url_escape(const char *text) TS_MUST_USE;

// Replaces each "{name}" of template by the escaped value. TS_ERR_INVALID when the template has none, or when
// the value is "." or ".." (a path step, which no escaping hides). *out_url is owned by the caller.
enum ts_err ts_url_expand(const char *url_template, const char *name, const char *value, char **out_url,
                          struct ts_error *error) TS_MUST_USE;

// Opens the file of a file:// URL read-only if after resolving links it lies under `root` (a directory; NULL:
// file URLs are not allowed). Regular files only. TS_ERR_NET_FORBIDDEN: outside; TS_ERR_NOT_FOUND; TS_ERR_IO.
// The caller closes *out_fd.
enum ts_err ts_url_open_file(const struct ts_url *url, const char *root, int *out_fd,
                             struct ts_error *error) TS_MUST_USE;

#endif
