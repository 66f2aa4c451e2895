// Tries of one download. What was received stays only if the server's validator proves that the rest belongs to
// the same bytes (RFC 9110, 13.1.5 and 14.2); a server that contradicts itself is asked for everything again.
#include "net/fetch.h"

#include "base/mem.h"
#include "net/url.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BACKOFF_FIRST_MS 500
#define BACKOFF_MAX_MS 10000
#define RETRY_AFTER_PATIENCE_MS 60000
#define WAIT_STEP_MS 50
#define HEADERS_MAX 64

static const char *const schemes[] = {"http", "https", NULL};

struct fetch {
	const struct ts_fetch_options *options;
	const char *where; // host[:port]
	int fd;
	uint64_t received; // also the size of the file
	int64_t total;     // -1: unknown
	char validator[256];
};

static void report(const struct fetch *f)
{
	if (f->options->progress)
		f->options->progress(f->options->ctx, f->received, f->total);
}

static enum ts_err start_over(struct fetch *f, struct ts_error *error)
{
	f->validator[0] = '\0';
	f->total = -1;
	if (f->received == 0)
		return TS_OK;
	if (ftruncate(f->fd, 0) != 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "media file cannot be emptied");
	f->received = 0;
	report(f);
	return TS_OK;
}

// Only a strong validator may join two parts: a weak ETag equates different bytes.
static void remember_validator(struct fetch *f, const struct ts_http_response *response)
{
	if (response->etag[0] == '"')
		snprintf(f->validator, sizeof f->validator, "%s", response->etag);
	else if (response->etag[0] == '\0')
		snprintf(f->validator, sizeof f->validator, "%s", response->last_modified);
	else
		f->validator[0] = '\0';
}

static bool part_fits(const struct fetch *f, const struct ts_http_response *response)
{
	if (response->content_range_from < 0 || (uint64_t)response->content_range_from != f->received)
		return false;
	if (response->content_length >= 0 &&
	    response->content_length != response->content_range_to - response->content_range_from + 1)
		return false;
	if (f->total >= 0 && response->content_range_total >= 0 && f->total != response->content_range_total)
		return false;
	return f->validator[0] != '"' || response->etag[0] == '\0' || strcmp(f->validator, response->etag) == 0;
}

static enum ts_err on_begin(void *ctx, const struct ts_http_response *response, struct ts_error *error)
{
	struct fetch *f = ctx;

	if (response->status != 200 && response->status != 203 && response->status != 206)
		return TS_OK;
	if (response->content_encoding[0] && strcasecmp(response->content_encoding, "identity") != 0)
		return ts_fail(error, TS_ERR_MEDIA_UNSUPPORTED, "%s sends the media compressed (Content-Encoding: %s)",
		               f->where, response->content_encoding);
	if (response->status == 206) {
		if (f->received == 0 || !part_fits(f, response)) {
			TS_TRY(start_over(f, error));
			return ts_fail(error, TS_ERR_NET_INCOMPLETE, "%s sent another part of the file than asked for", f->where);
		}
		if (response->content_range_total >= 0)
			f->total = response->content_range_total;
	} else {
		TS_TRY(start_over(f, error));
		f->total = response->content_length;
		remember_validator(f, response);
	}
	if (f->options->max_bytes && f->total > 0 && (uint64_t)f->total > f->options->max_bytes)
		return ts_fail(error, TS_ERR_MEDIA_TOO_LARGE,
		               "media at %s is %" PRId64 " bytes; at most %" PRIu64 " are allowed", f->where, f->total,
		               f->options->max_bytes);
	report(f);
	return TS_OK;
}

static enum ts_err write_all(struct fetch *f, const char *bytes, size_t length, struct ts_error *error)
{
	while (length > 0) {
		ssize_t n = pwrite(f->fd, bytes, length, (off_t)f->received);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ts_fail_errno(error, TS_ERR_IO, errno, "media file cannot be written");
		f->received += (uint64_t)n;
		bytes += n;
		length -= (size_t)n;
	}
	return TS_OK;
}

static enum ts_err on_body(void *ctx, const void *bytes, size_t length, struct ts_error *error)
{
	struct fetch *f = ctx;

	if (f->options->max_bytes && length > f->options->max_bytes - f->received)
		return ts_fail(error, TS_ERR_MEDIA_TOO_LARGE, "media at %s is larger than the %" PRIu64 " bytes allowed",
		               f->where, f->options->max_bytes);
	if (f->total >= 0 && length > (uint64_t)f->total - f->received) {
		TS_TRY(start_over(f, error));
		return ts_fail(error, TS_ERR_NET_INCOMPLETE, "%s sent more bytes than it announced", f->where);
	}
	TS_TRY(write_all(f, bytes, length, error));
	report(f);
	return TS_OK;
}

static enum ts_err judge_status(struct fetch *f, const struct ts_http_response *response, struct ts_error *error)
{
	long status = response->status;

	if (status == 200 || status == 203 || status == 206) {
		if (f->total >= 0 && f->received < (uint64_t)f->total)
			return ts_fail(error, TS_ERR_NET_INCOMPLETE, "%s sent %" PRIu64 " of %" PRId64 " bytes", f->where,
			               f->received, f->total);
		return TS_OK;
	}
	if (status == 416 && f->received > 0) {
		TS_TRY(start_over(f, error));
		return ts_fail(error, TS_ERR_NET_INCOMPLETE, "%s no longer has the rest of the file", f->where);
	}
	if (status == 408 || status == 425 || status == 429 || status >= 500)
		return ts_fail(error, TS_ERR_NET_STATUS_TEMPORARY, "%s answered with HTTP status %ld", f->where, status);
	if (status >= 300 && status < 400)
		return ts_fail(error, TS_ERR_NET_STATUS, "%s redirects more than %u times (HTTP status %ld)", f->where,
		               f->options->max_redirects, status);
	return ts_fail(error, TS_ERR_NET_STATUS, "%s answered with HTTP status %ld", f->where, status);
}

static enum ts_err try_once(struct fetch *f, const char *url, int64_t deadline_ms, struct ts_http_response *response,
                            struct ts_error *error)
{
	const struct ts_fetch_options *options = f->options;
	const char *headers[HEADERS_MAX + 2];
	size_t count = 0;

	while (options->headers && options->headers[count]) {
		if (count == HEADERS_MAX)
			return ts_fail(error, TS_ERR_INVALID, "more than %d request headers", HEADERS_MAX);
		headers[count] = options->headers[count];
		count++;
	}
	headers[count++] = "Accept-Encoding: identity";
	headers[count] = NULL;
	if (!f->validator[0])
		TS_TRY(start_over(f, error));
	struct ts_http_request request = {.method = "GET",
	                                  .url = url,
	                                  .headers = headers,
	                                  .guard = options->guard,
	                                  .deadline_ms = deadline_ms,
	                                  .stall_timeout_ms = options->stall_timeout_ms,
	                                  .max_bytes = options->max_bytes,
	                                  .max_redirects = options->max_redirects,
	                                  .resume_from = f->received,
	                                  .if_range = f->received ? f->validator : NULL,
	                                  .abort = options->abort,
	                                  .write = on_body,
	                                  .begin = on_begin,
	                                  .ctx = f};
	TS_TRY(ts_http_perform(&request, response, error));
	return judge_status(f, response, error);
}

static bool may_pass(enum ts_err err)
{
	return err == TS_ERR_NET_UNREACHABLE || err == TS_ERR_TIMEOUT || err == TS_ERR_NET_INCOMPLETE ||
	       err == TS_ERR_NET_STATUS_TEMPORARY;
}

static void wait_on_system_clock(void *ctx TS_UNUSED, int64_t ms, const atomic_bool *abort)
{
	int64_t end = ts_mono_ms(ts_clock_system()) + ms;

	for (;;) {
		int64_t left = end - ts_mono_ms(ts_clock_system());
		if (left <= 0 || (abort && atomic_load(abort)))
			return;
		int64_t step = left < WAIT_STEP_MS ? left : WAIT_STEP_MS;
		nanosleep(&(struct timespec){.tv_nsec = step * 1000000}, NULL);
	}
}

static int64_t pause_before(unsigned next_try, const struct ts_http_response *response)
{
	int64_t pause = BACKOFF_MAX_MS;

	if (next_try < 6)
		pause = (int64_t)BACKOFF_FIRST_MS << (next_try - 2);
	if (pause > BACKOFF_MAX_MS)
		pause = BACKOFF_MAX_MS;
	return response->retry_after_ms > pause ? response->retry_after_ms : pause;
}

static enum ts_err run_tries(struct fetch *f, const char *url, struct ts_error *error)
{
	const struct ts_fetch_options *options = f->options;
	const struct ts_clock *clock = options->clock ? options->clock : ts_clock_system();
	int64_t end = options->deadline_ms > 0 ? ts_mono_ms(clock) + options->deadline_ms : INT64_MAX;
	struct ts_http_response response = {.retry_after_ms = -1};

	for (unsigned try = 1;; try++) {
		int64_t left = options->deadline_ms > 0 ? end - ts_mono_ms(clock) : 0;
		enum ts_err err = try_once(f, url, left, &response, error);
		if (err == TS_OK || !may_pass(err))
			return err;
		int64_t pause = pause_before(try + 1, &response);
		if (try >= options->max_tries || pause > RETRY_AFTER_PATIENCE_MS || pause >= end - ts_mono_ms(clock))
			return try > 1 ? ts_fail(error, err, "%s (try %u, the last)", error->message, try) : err;
		if (options->log)
			ts_log_warn(options->log, "download interrupted", TS_STR("host", f->where), TS_STR("error", error->message),
			            TS_INT("try", try), TS_INT("received", f->received), TS_INT("wait_ms", pause));
		(options->wait ? options->wait : wait_on_system_clock)(options->ctx, pause, options->abort);
		if (options->abort && atomic_load(options->abort))
			return ts_fail(error, TS_ERR_ABORTED, "transfer from %s was aborted", f->where);
	}
}

enum ts_err ts_fetch(const char *url, int fd, const struct ts_fetch_options *options, struct ts_error *error)
{
	TS_AUTOURL struct ts_url parsed = {0};
	struct ts_error local = {0}; // the log and the last message need one even when the caller does not

	TS_TRY(ts_url_parse(url, schemes, &parsed, error));
	TS_AUTOFREE char *where = ts_url_authority(&parsed);
	if (!where)
		return ts_fail_nomem(error);
	struct fetch f = {.options = options, .where = where, .fd = fd, .total = -1};
	enum ts_err err = run_tries(&f, url, &local);
	if (err != TS_OK && error)
		*error = local;
	return err;
}
