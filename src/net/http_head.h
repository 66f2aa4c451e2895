// The header section of a response, line by line, into the fields callers see. Pure. Private to this room.
#ifndef TS_NET_HTTP_HEAD_H
#define TS_NET_HTTP_HEAD_H

#include "net/http.h"
#include "net/url.h"

#define TS_HTTP_HEAD_MAX (256 * 1024) // bytes of all header lines of one response
#define TS_HTTP_RETRY_AFTER_MAX_MS (INT64_C(7) * 24 * 3600 * 1000)

struct ts_http_head {
	struct ts_http_response *response;
	int64_t wall_ms; // now: an HTTP date in Retry-After is counted from here
	size_t bytes;
	bool complete; // the blank line of a final (not 1xx) response was seen
	bool chunked;
	bool precise_retry; // retry-after-ms was given, and wins
	char location[4096];
	bool location_too_long;
};

void ts_http_head_begin(struct ts_http_head *head, struct ts_http_response *response, int64_t wall_ms);

// One line with its line end. A status line starts over; lines after completion (trailers) are ignored.
// TS_ERR_LIMIT: too many bytes; TS_ERR_NET_UNREACHABLE: contradictory or malformed Content-Length.
enum ts_err ts_http_head_line(struct ts_http_head *head, const char *line, size_t length,
                              struct ts_error *error) TS_MUST_USE;

// Whether the status is a redirect that carries its target in Location.
bool ts_http_status_redirects(long status);

// Where a Location header of `from` leads. TS_ERR_NET_FORBIDDEN: not to http or https, or from https to http;
// the message continues "... redirects to a URL that".
enum ts_err ts_http_redirect_target(const struct ts_url *from, const char *location, struct ts_url *out,
                                    struct ts_error *error) TS_MUST_USE;

#endif
