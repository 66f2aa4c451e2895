// The HTTP API (docs/api.md) on libmicrohttpd, and the relay that publishes the outbox. Refuses recognition,
// configuration and process matters (src/bin).
#ifndef TS_API_API_H
#define TS_API_API_H

#include "base/clock.h"
#include "base/log.h"
#include "net/netguard.h"
#include "queue/queue.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct ts_api_options {
	const char *host; // address to listen on, "0.0.0.0", "::", "127.0.0.1"
	uint16_t port;    // 0: the system chooses
	unsigned threads; // >= 1
	unsigned max_connections;
	struct ts_store *store;
	enum ts_err (*queue_open)(void *ctx, struct ts_queue **out,
	                          struct ts_error *error); // a handle for the calling thread
	void *queue_ctx;
	const struct ts_clock *clock;
	struct ts_log log;

	const char *api_keys;     // comma-separated; "": no authentication. Only digests are kept.
	const char *public_url;   // base of Location and links; "": relative
	const char *upload_dir;   // exists; on the disk where uploads live
	bool has_media_template;  // a video_id alone is enough
	bool has_media_file_root; // file:// media URLs are accepted

	uint64_t max_body_bytes;   // of a JSON body
	uint64_t max_upload_bytes; // of an uploaded file
	unsigned max_headers;
	size_t max_header_bytes;
	int64_t request_timeout_ms; // for the head and a JSON body to arrive whole
	int64_t upload_timeout_ms;  // for an upload to arrive whole
	int64_t max_wait_ms;        // longest ?wait=
	int64_t max_queued;         // backlog ceiling, 429 above; 0: none
	int64_t upload_ttl_ms;
	int64_t idempotency_ttl_ms;
	int32_t job_max_attempts;
	// Whether the language may be asked for; NULL: any ISO 639-1 code.
	enum ts_err (*check_language)(void *ctx, const char *language, struct ts_error *error);
	void *check_ctx;
};

struct ts_api;

// Listens and serves. Everything options point to is borrowed until destroy.
enum ts_err ts_api_start(const struct ts_api_options *options, struct ts_api **out, struct ts_error *error) TS_MUST_USE;
// The port it listens on.
uint16_t ts_api_port(const struct ts_api *api);
// Readiness goes false and long polls are answered; connections are still served.
void ts_api_drain(struct ts_api *api);
// Stops accepting, lets running requests finish for up to grace_ms, stops.
void ts_api_stop(struct ts_api *api, int64_t grace_ms);
void ts_api_destroy(struct ts_api *api); // NULL-safe

#endif
