// Brings a remote media file into a local one: GET with bounded tries inside one call, resuming by Range with
// If-Range when the server gave a validator, starting over when it did not. Refuses what is too large.
#ifndef TS_NET_FETCH_H
#define TS_NET_FETCH_H

#include "base/clock.h"
#include "base/log.h"
#include "net/http.h"

struct ts_fetch_options {
	const struct ts_netguard *guard;
	uint64_t max_bytes;
	int64_t deadline_ms; // for all tries together
	int64_t stall_timeout_ms;
	unsigned max_tries; // >= 1
	unsigned max_redirects;
	const char *const *headers;
	const atomic_bool *abort;
	const struct ts_log *log; // borrowed
	// bytes so far and in all (-1: unknown); NULL: not wanted
	void (*progress)(void *ctx, uint64_t received, int64_t total);
	void *ctx;
};

// Writes the body to fd (an empty regular file, read-write) from offset 0. On TS_OK the file is complete:
// its size equals what the server announced, if it did. TS_ERR_NET_STATUS for 4xx (TEMPORARY for 408, 425, 429, 5xx).
enum ts_err ts_fetch(const char *url, int fd, const struct ts_fetch_options *options,
                     struct ts_error *error) TS_MUST_USE;

#endif
