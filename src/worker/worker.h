// The worker: takes messages when a slot is free, claims jobs, runs them (fetch, decode, recognise, store), keeps their
// leases alive, sends callbacks and does the housekeeping. Refuses configuration and process matters (src/bin).
#ifndef TS_WORKER_WORKER_H
#define TS_WORKER_WORKER_H

#include "asr/asr.h"
#include "base/clock.h"
#include "base/log.h"
#include "media/media.h"
#include "net/netguard.h"
#include "queue/queue.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct ts_worker_options {
	const char *owner; // unique lease owner of this process, shorter than 64 bytes
	unsigned slots;    // jobs at a time; >= 1
	struct ts_store *store;
	// Opens a queue handle for the calling thread.
	enum ts_err (*queue_open)(void *ctx, struct ts_queue **out, struct ts_error *error);
	void *queue_ctx;
	struct ts_asr *engine;
	const struct ts_clock *clock;
	struct ts_log log;

	// media
	const char *temp_dir;           // exists; one folder a job below it
	const char *upload_dir;         // files of uploads
	const char *media_url_template; // NULL: none
	const char *media_file_root;    // NULL: file:// refused
	const struct ts_netguard *media_guard;
	uint64_t max_media_bytes;
	int64_t max_media_duration_ms;
	int64_t fetch_timeout_ms, fetch_stall_ms;
	unsigned fetch_max_redirects;
	uint64_t decoder_memory_bytes;
	bool vad;

	// a job's life
	int64_t job_timeout_ms;
	int64_t lease_ms;                    // extended every third of it
	int64_t cancel_check_ms;             // 0: 250
	int64_t retry_base_ms, retry_max_ms; // exponential with full jitter
	int64_t reap_interval_ms;            // 0: 5 s
	int64_t orphan_after_ms;             // a queued job unmentioned for so long is mentioned again; 0: 5 min
	int64_t retention_ms;                // 0: keep

	// callbacks
	const char *callback_secret; // NULL or "": unsigned
	const struct ts_netguard *callback_guard;
	int64_t callback_timeout_ms;
	const int64_t *callback_schedule_ms; // delay before attempt i; the last repeats
	size_t callback_schedule_count;
	unsigned callback_max_attempts;
};

struct ts_worker;

// Starts the threads. All that options point to is borrowed until destroy.
enum ts_err ts_worker_start(const struct ts_worker_options *options, struct ts_worker **out,
                            struct ts_error *error) TS_MUST_USE;

// No new jobs from now on; returns at once.
void ts_worker_drain(struct ts_worker *worker);
// Waits up to grace_ms for running jobs, hands the rest back (ts_store_release), stops all threads. Idempotent.
void ts_worker_stop(struct ts_worker *worker, int64_t grace_ms);
// Stops with no grace when still running; NULL-safe.
void ts_worker_destroy(struct ts_worker *worker);

struct ts_worker_stats {
	unsigned slots, busy;
	uint64_t claimed, completed, failed, retried, released, lost; // jobs since start
	uint64_t deliveries_ok, deliveries_failed;
	double audio_seconds, recognition_seconds;
};
void ts_worker_stats(const struct ts_worker *worker, struct ts_worker_stats *out);

#endif
