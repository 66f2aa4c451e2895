// Brings a remote media file into a local one: GET with bounded tries inside one call, resuming by Range with
// If-Range when the server gave a validator, starting over when it did not. Refuses what is too large.
#ifndef TS_NET_FETCH_H
#define TS_NET_FETCH_H

#include "base/clock.h"
#include "base/log.h"
#include "net/http.h"

struct ts_fetch_options {
	const struct ts_netguard *guard;
	uint64_t max_bytes;       // 0: no ceiling
	int64_t deadline_ms;      // for all tries together; 0: none
	int64_t stall_timeout_ms; // as in ts_http_request
	unsigned max_tries;       // >= 1 (0 counts as 1)
	unsigned max_redirects;
	const char *const *headers; // NULL-terminated "Name: value" lines; NULL: none
	const atomic_bool *abort;   // NULL: none
	const struct ts_log *log;   // borrowed; NULL: silent
	// bytes so far and in all (-1: unknown), goes back to 0 when the server makes us start over; NULL: not wanted
	void (*progress)(void *ctx, uint64_t received, int64_t total);
	void *ctx;
	const struct ts_clock *clock; // for the deadline between tries; NULL: the system's
	// Waits between two tries; returns early when *abort becomes true. NULL: a wait on the system's clock.
	void (*wait)(void *ctx, int64_t ms, const atomic_bool *abort);
};

// Writes the body to fd (an empty regular file, read-write) from offset 0. On TS_OK the file is complete:
// its size equals what the server announced, if it did. TS_ERR_NET_STATUS for a final refusal (4xx and other
// answers that are no file), TS_ERR_NET_STATUS_TEMPORARY for 408, 425, 429 and 5xx, TS_ERR_MEDIA_TOO_LARGE,
// TS_ERR_MEDIA_UNSUPPORTED for a body that is compressed in transit although that was not asked for, TS_ERR_IO
// for the local file, and the errors of ts_http_perform. Only errors that may pass are tried again; a Retry-After
// beyond a minute or the deadline ends the call instead of holding it up. After an error the file holds a part.
enum ts_err ts_fetch(const char *url, int fd, const struct ts_fetch_options *options,
                     struct ts_error *error) TS_MUST_USE;

#endif
