// The truth about jobs, transcripts, uploads and deliveries, behind one contract: store_sqlite on one machine, store_pg for many.
// Every update enforces the legal transitions (core/transitions.def) in its WHERE; every write of a worker is fenced
// by lease owner, attempt and claim. Refuses recognition, HTTP and waiting for work (queue/).
// Thread safe. Times are wall-clock ms of the clock the store was made with. Errors of every function besides those
// named: TS_ERR_STORE (unreachable, busy too long, disk), TS_ERR_NOMEM, TS_ERR_SCHEMA.
// Jobs and transcripts that are filled must have been initialised, and what they held is freed; every other out value is
// simply written, on success only, and then the caller's to finish.
#ifndef TS_STORE_STORE_H
#define TS_STORE_STORE_H

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "core/job.h"
#include "core/transcript.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ts_store;

// --- submitting and reading ---

struct ts_submit {
	const struct ts_job *job; // id, times, state and attempt are ignored; video_id and max_attempts >= 1 must be there
	int64_t max_queued;       // ceiling of jobs not yet final; 0: none
	// Idempotency-Key with the caller's identity in front, and the digest of the request it stands for; NULL: none.
	const char *idempotency_key;
	const char *request_digest;
	int64_t idempotency_ttl_ms;
};

// One transaction: job, outbox row, idempotency key, upload attached. Durable when it returns (synchronous).
// *out_job (initialised) is the stored row; *out_replayed: the key was seen before with the same digest, and the job is
// that one. Errors: TS_ERR_CONFLICT field "Idempotency-Key" (same key, other request), TS_ERR_BUSY (backlog full),
// TS_ERR_NOT_FOUND field "upload_id", TS_ERR_CONFLICT field "upload_id" (belongs to another job).
enum ts_err ts_store_submit(struct ts_store *store, const struct ts_submit *submit, struct ts_job *out_job,
                            bool *out_replayed, struct ts_error *error) TS_MUST_USE;

// TS_ERR_NOT_FOUND. *out is initialised by the caller.
enum ts_err ts_store_get(struct ts_store *store, const char *job_id, struct ts_job *out,
                         struct ts_error *error) TS_MUST_USE;

struct ts_job_filter {
	const char *user_id, *video_id; // NULL: any
	bool has_state;
	enum ts_job_state state;
	int64_t created_after, created_before; // exclusive; 0: any
	// Words that must all be in the transcript, in any order and case; NULL: any. Completed jobs only. Words beyond the
	// first TS_STORE_SEARCHED_MAX bytes of a transcript's text are not found.
	const char *words;
	const char *cursor; // from the page before; NULL: the newest
	unsigned limit;     // 1 to TS_STORE_PAGE_MAX
};
#define TS_STORE_PAGE_MAX 200
#define TS_STORE_SEARCHED_MAX 250000 // about four hours of speech
#define TS_STORE_WORDS_MAX 500       // bytes of `words`

struct ts_job_page {
	struct ts_job *jobs; // newest first
	size_t count;
	char *next_cursor; // opaque; NULL: no more
};
void ts_job_page_finish(struct ts_job_page *page);

// Keyset pagination. TS_ERR_INVALID field "cursor", "limit" or "q" (`words` is too long or holds no word).
enum ts_err ts_store_list(struct ts_store *store, const struct ts_job_filter *filter, struct ts_job_page *out,
                          struct ts_error *error) TS_MUST_USE;

struct ts_store_counts {
	int64_t jobs[TS_JOB_STATE_COUNT];
	int64_t outbox;             // jobs whose message is not published yet
	int64_t deliveries_pending; // callbacks still to be sent
	int64_t deliveries_failed;  // given up
	int64_t oldest_queued_at;   // 0: none
};
enum ts_err ts_store_counts(struct ts_store *store, struct ts_store_counts *out, struct ts_error *error) TS_MUST_USE;

// The stored transcript of a completed job. TS_ERR_NOT_FOUND: no such job or no transcript.
enum ts_err ts_store_transcript(struct ts_store *store, const char *job_id, struct ts_transcript *out,
                                struct ts_error *error) TS_MUST_USE;

// Blocks until something in the store changed after *seen was taken, the timeout passes or *stop is set. Start with
// seen = 0 (returns at once). Changes made by other processes wake within milliseconds. Spurious wake-ups happen.
enum ts_err ts_store_wait_change(struct ts_store *store, uint64_t *seen, int64_t timeout_ms, const atomic_bool *stop,
                                 struct ts_error *error) TS_MUST_USE;
// Wakes every ts_store_wait_change of this handle (shutdown). Not async-signal-safe.
void ts_store_wake(struct ts_store *store);

// --- a user's decisions ---

// Final at once in every non-final state; a running worker finds its lease gone and stops. Writes the delivery row.
// TS_ERR_NOT_FOUND, TS_ERR_CONFLICT (already final; *out is still filled).
enum ts_err ts_store_cancel(struct ts_store *store, const char *job_id, struct ts_job *out,
                            struct ts_error *error) TS_MUST_USE;
// failed or cancelled -> queued with fresh attempts. TS_ERR_NOT_FOUND, TS_ERR_CONFLICT.
enum ts_err ts_store_retry(struct ts_store *store, const char *job_id, struct ts_job *out,
                           struct ts_error *error) TS_MUST_USE;
// Removes job, transcript, deliveries and messages in any state; its upload becomes an orphan (ts_store_uploads_expired).
// TS_ERR_NOT_FOUND.
enum ts_err ts_store_delete(struct ts_store *store, const char *job_id, struct ts_error *error) TS_MUST_USE;

// --- dispatch: the outbox ---

struct ts_outbox_item {
	int64_t row;
	char job_id[TS_UUID_SIZE];
	enum ts_job_priority priority;
};
// Takes up to `capacity` due rows for lease_ms; another relay does not see them meanwhile.
enum ts_err ts_store_outbox_claim(struct ts_store *store, int64_t lease_ms, struct ts_outbox_item *items,
                                  size_t capacity, size_t *out_count, struct ts_error *error) TS_MUST_USE;
// Published: removes them.
enum ts_err ts_store_outbox_done(struct ts_store *store, const struct ts_outbox_item *items, size_t count,
                                 struct ts_error *error) TS_MUST_USE;

// --- a worker's part ---

struct ts_lease {
	char job_id[TS_UUID_SIZE];
	char owner[64];
	int32_t attempt;
	int64_t fence; // number of the claim: never reused, though attempts start again after a retry or a release
};

// Queued and due, or processing with an expired lease -> processing, attempt + 1. *out_job is the row.
// TS_ERR_NOT_FOUND: nothing to do for this message (gone, final, running elsewhere, not due): forget it.
// TS_ERR_ATTEMPTS: it was out of attempts and has been failed by this call.
enum ts_err ts_store_claim(struct ts_store *store, const char *job_id, const char *owner, int64_t lease_ms,
                           struct ts_job *out_job, struct ts_lease *out_lease, struct ts_error *error) TS_MUST_USE;

struct ts_progress {
	double fraction;           // [0, 1]
	const char *stage;         // "fetching", "decoding", "transcribing", "storing"; NULL: as before
	int64_t media_duration_ms; // 0: as before
};
// Extends the lease and writes progress. TS_ERR_FENCED: the lease is lost (expired and taken, cancelled, deleted).
enum ts_err ts_store_heartbeat(struct ts_store *store, const struct ts_lease *lease, int64_t lease_ms,
                               const struct ts_progress *progress, struct ts_error *error) TS_MUST_USE;
// Read-only look at whether the lease still holds: cheap, asked several times a second so that cancel works at once.
enum ts_err ts_store_lease_check(struct ts_store *store, const struct ts_lease *lease,
                                 struct ts_error *error) TS_MUST_USE;
// Clean hand-back (shutdown): queued again at once, the attempt is not counted. TS_ERR_FENCED.
enum ts_err ts_store_release(struct ts_store *store, const struct ts_lease *lease, struct ts_error *error) TS_MUST_USE;
// The attempt failed with *cause. retry_at > 0 and attempts left: queued again, due then; otherwise failed, with its
// delivery row. *out_state tells which. TS_ERR_FENCED.
enum ts_err ts_store_fail(struct ts_store *store, const struct ts_lease *lease, const struct ts_error *cause,
                          int64_t retry_at, enum ts_job_state *out_state, struct ts_error *error) TS_MUST_USE;
// One transaction, synchronous: transcript, completed, delivery row. TS_ERR_FENCED: nothing was written.
enum ts_err ts_store_finish(struct ts_store *store, const struct ts_lease *lease,
                            const struct ts_transcript *transcript, struct ts_error *error) TS_MUST_USE;

// --- housekeeping (any replica, any time) ---

struct ts_reaped {
	int64_t requeued;    // expired leases given back
	int64_t exhausted;   // failed: out of attempts
	int64_t republished; // queued and due, but no message mentions them: outbox rows written
};
// `orphan_after_ms`: a queued job that long without outbox row or claim is mentioned again.
enum ts_err ts_store_reap(struct ts_store *store, int64_t orphan_after_ms, struct ts_reaped *out,
                          struct ts_error *error) TS_MUST_USE;

// Deletes final jobs finished before `finished_before`, up to `limit`, and idempotency keys past their time. A job
// whose callback is still to be sent stays.
enum ts_err ts_store_retire(struct ts_store *store, int64_t finished_before, unsigned limit, int64_t *out_deleted,
                            struct ts_error *error) TS_MUST_USE;

// --- deliveries: callbacks as rows ---

struct ts_delivery {
	int64_t number; // within the job, from 1
	char job_id[TS_UUID_SIZE];
	char event_id[TS_UUID_SIZE]; // webhook-id: the same on every try
	char *event_type;            // "transcription.completed"
	char *url;
	char *body;        // exact bytes to send; NULL in lists
	char *state;       // "pending", "delivered", "failed"
	char *traceparent; // of the submit; NULL: none
	int32_t attempts;
	int64_t next_attempt_at; // 0: no more
	int64_t created_at, delivered_at;
};
void ts_delivery_finish(struct ts_delivery *delivery);

struct ts_delivery_attempt {
	int32_t number; // from 1
	int64_t started_at;
	int64_t duration_ms;
	int32_t status; // HTTP; 0: no response
	char *error;    // NULL: none
	char *response; // beginning of the response body; NULL: none
};

struct ts_delivery_log {
	struct ts_delivery delivery;
	struct ts_delivery_attempt *attempts; // owned, ascending
	size_t attempt_count;
};
struct ts_delivery_list {
	struct ts_delivery_log *items; // ascending number
	size_t count;
};
void ts_delivery_list_finish(struct ts_delivery_list *list);

// The next due delivery, hidden from others for lease_ms. TS_ERR_NOT_FOUND: none is due; *out_next_at (may be NULL)
// is then when the earliest becomes due (0: none pending).
enum ts_err ts_store_delivery_claim(struct ts_store *store, int64_t lease_ms, struct ts_delivery *out,
                                    int64_t *out_next_at, struct ts_error *error) TS_MUST_USE;
enum ts_delivery_outcome { TS_DELIVERY_DONE, TS_DELIVERY_RETRY, TS_DELIVERY_GIVE_UP };
// Writes the attempt to the log (which keeps the last 100 and numbers them itself) and the outcome to the row, unless
// another sender has ended it meanwhile; next_attempt_at only for RETRY. TS_ERR_NOT_FOUND: its job is gone.
enum ts_err ts_store_delivery_record(struct ts_store *store, const struct ts_delivery *delivery,
                                     const struct ts_delivery_attempt *attempt, enum ts_delivery_outcome outcome,
                                     int64_t next_attempt_at, struct ts_error *error) TS_MUST_USE;
// TS_ERR_NOT_FOUND: no such job.
enum ts_err ts_store_deliveries(struct ts_store *store, const char *job_id, struct ts_delivery_list *out,
                                struct ts_error *error) TS_MUST_USE;
// Due again now, same event id. TS_ERR_NOT_FOUND field "delivery" or none (job).
enum ts_err ts_store_redeliver(struct ts_store *store, const char *job_id, int64_t number,
                               struct ts_error *error) TS_MUST_USE;

// --- uploads: files beside the store, rows inside ---

struct ts_upload {
	char id[TS_UUID_SIZE];
	char *path;                     // relative to the upload folder
	char *filename;                 // as the client named it; NULL: none
	char *user_id;                  // NULL: none
	int64_t size;                   // bytes
	int64_t created_at, expires_at; // expires while no job uses it
};
void ts_upload_finish(struct ts_upload *upload);

// The caller fills path, filename, user_id, size, expires_at; id when it begins with a character, else it is drawn.
// TS_ERR_INVALID, TS_ERR_CONFLICT field "id".
enum ts_err ts_store_upload_create(struct ts_store *store, struct ts_upload *upload,
                                   struct ts_error *error) TS_MUST_USE;
// TS_ERR_NOT_FOUND field "upload_id".
enum ts_err ts_store_upload_get(struct ts_store *store, const char *id, struct ts_upload *out,
                                struct ts_error *error) TS_MUST_USE;
// Uploads whose file may go: expired, or whose job is gone; no submit takes them any more. The caller finishes each item,
// unlinks, then forgets.
enum ts_err ts_store_uploads_expired(struct ts_store *store, struct ts_upload *items, size_t capacity,
                                     size_t *out_count, struct ts_error *error) TS_MUST_USE;
// Nothing when it is forgotten already. TS_ERR_CONFLICT field "upload_id": a job uses it.
enum ts_err ts_store_upload_forget(struct ts_store *store, const char *id, struct ts_error *error) TS_MUST_USE;

// --- the handle ---

// Whether the store answers and its schema is ours.
enum ts_err ts_store_ping(struct ts_store *store, struct ts_error *error) TS_MUST_USE;
void ts_store_close(struct ts_store *store); // NULL-safe; no call may be running

#endif
