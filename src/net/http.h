// One HTTP transfer on libcurl: deadline, size ceiling, stall detection, pinned and guarded addresses (each
// redirect is checked again), abort flag. Refuses retry policy: the caller decides (see fetch.h, worker/deliver).
// Refuses proxies, content decoding, and anything else that an environment variable could switch on.
#ifndef TS_NET_HTTP_H
#define TS_NET_HTTP_H

#include "base/err.h"
#include "net/netguard.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Process-wide set-up of libcurl; call once in main before threads start. Also ignores SIGPIPE, which TLS
// connections that break while sending would raise.
enum ts_err ts_http_global_init(struct ts_error *error) TS_MUST_USE;

struct ts_http_part { // of multipart/form-data
	const char *name;
	const char *filename; // NULL: a plain field
	const char *type;     // NULL: none
	const void *data;
	size_t length;
};

struct ts_http_response {
	long status;                 // 0: no response yet
	char content_type[128];      // "" when absent
	char content_encoding[32];   // "" when absent; the body is handed on as it came
	int64_t content_length;      // of this response; -1 when absent
	int64_t content_range_from;  // first byte of a 206; -1 when absent
	int64_t content_range_to;    // last byte of a 206; -1 when absent
	int64_t content_range_total; // -1 when absent or "*"
	int64_t retry_after_ms;      // retry-after-ms, else Retry-After (seconds or HTTP date); -1 when absent
	char etag[256];              // strong or weak, as sent; "" when absent
	char last_modified[64];      // "" when absent
	uint64_t received;           // body bytes written
	char error_body[2048];       // beginning of a non-2xx body, NUL-terminated
};

struct ts_http_request {
	const char *method;         // "GET", "POST", ...
	const char *url;            // http or https
	const char *const *headers; // NULL-terminated "Name: value" lines; NULL: none
	const void *body;           // sent as is when not NULL
	size_t body_length;
	const struct ts_http_part *parts; // multipart body instead, when part_count > 0
	size_t part_count;
	const struct ts_netguard *guard; // NULL: anything may be reached (an operator-configured endpoint)
	int64_t connect_timeout_ms;      // name look-up, connection and TLS together; 0: 10 s
	int64_t deadline_ms;             // whole transfer with its redirects; 0: none
	int64_t stall_timeout_ms;        // below 1 byte/s for that long fails, also while waiting for the answer; 0: 30 s
	uint64_t max_bytes;              // response body ceiling; 0: none
	unsigned max_redirects;          // 0: a redirect is an ordinary response; so is one after that many
	uint64_t resume_from;            // asks for bytes from here on ("Range")
	const char *if_range;            // validator sent with a resumed request; NULL: none
	const atomic_bool *abort;        // NULL: none; polled at least every 200 ms
	// Called with body bytes in order, only for 2xx responses (others go to error_body). Non-OK stops the transfer.
	// NULL: the body is dropped.
	enum ts_err (*write)(void *ctx, const void *bytes, size_t length, struct ts_error *error);
	// Called once the final response's headers are in, before any write; NULL: not wanted. Non-OK stops.
	enum ts_err (*begin)(void *ctx, const struct ts_http_response *response, struct ts_error *error);
	void *ctx;
};

// TS_OK for any complete HTTP response, whatever its status, and for a non-2xx one whose body broke off, took too
// long or grew over error_body. Otherwise TS_ERR_NET_UNREACHABLE (no connection, reset, TLS, not HTTP), TS_ERR_TIMEOUT,
// TS_ERR_NET_FORBIDDEN, TS_ERR_MEDIA_TOO_LARGE (ceiling: before the first byte when Content-Length tells),
// TS_ERR_NET_INCOMPLETE (ended early), TS_ERR_LIMIT (endless headers), TS_ERR_INVALID (URL or headers of the
// request), TS_ERR_ABORTED, or what `write` or `begin` returned.
// Redirects are followed for GET and HEAD only, each one resolved and guarded again; to another origin none of
// the caller's headers but Accept*, User-Agent and traceparent travel; from https to http none is followed
// (TS_ERR_NET_FORBIDDEN). Messages name the host, never path, query or headers.
// *response is filled as far as known in each case. Blocking; thread safe.
enum ts_err ts_http_perform(const struct ts_http_request *request, struct ts_http_response *response,
                            struct ts_error *error) TS_MUST_USE;

#endif
