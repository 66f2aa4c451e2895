// Strict absolute URLs (RFC 3986) of the schemes the service knows, parsed by libcurl's URL parser, with what
// it forgives refused first: control characters, spaces, user information, fragments kept out of requests.
#ifndef TS_NET_URL_H
#define TS_NET_URL_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define TS_URL_MAX 2048 // bytes

struct ts_url {
	char *scheme;  // lower case: "http", "https", "file", "s3"
	char *host;    // lower case; IPv6 without brackets; "" for file
	uint16_t port; // the scheme's default when absent; 0 for file
	char *path;    // percent-encoded, starts with "/"
	char *query;   // without "?"; NULL: none
};

void ts_url_finish(struct ts_url *url);
#define TS_AUTOURL TS_CLEANUP(ts_url_finish)

// `schemes` is a NULL-terminated list of those allowed here. The message says what is wrong, without a field.
enum ts_err ts_url_parse(const char *text, const char *const *schemes, struct ts_url *out,
                         struct ts_error *error) TS_MUST_USE;

// Percent-encodes everything but RFC 3986 unreserved characters. Owned by the caller; NULL: out of memory.
char *ts_url_escape(const char *text);

// Replaces each "{name}" of template by the escaped value. Owned by the caller.
enum ts_err ts_url_expand(const char *url_template, const char *name, const char *value, char **out_url,
                          struct ts_error *error) TS_MUST_USE;

// The local path of a file:// URL, percent-decoded, if after resolving links it lies under `root` (a
// directory; NULL: file URLs are not allowed); opened read-only, regular files only. Caller closes *out_fd.
enum ts_err ts_url_open_file(const struct ts_url *url, const char *root, int *out_fd,
                             struct ts_error *error) TS_MUST_USE;

#endif
