// The store's contract in front of its back ends: checks what means the same to all of them, then dispatches.
// Refuses SQL and anything a back end could do differently.
#include "store/store.h"

#include "base/mem.h"
#include "store/store_ops.h"

#include <assert.h>
#include <string.h>

void ts_store_init(struct ts_store *store, const struct ts_store_ops *ops)
{
	assert(ops->name && ops->submit && ops->get && ops->list && ops->counts && ops->transcript && ops->wait_change);
	assert(ops->wake && ops->cancel && ops->retry && ops->remove && ops->outbox_claim && ops->outbox_done);
	assert(ops->claim && ops->heartbeat && ops->lease_check && ops->release && ops->fail && ops->finish);
	assert(ops->reap && ops->retire && ops->delivery_claim && ops->delivery_record && ops->deliveries);
	assert(ops->redeliver && ops->upload_create && ops->upload_get && ops->uploads_expired && ops->upload_forget);
	assert(ops->ping && ops->close);
	store->ops = ops;
}

enum ts_err ts_store_submit(struct ts_store *store, const struct ts_submit *submit, struct ts_job *out_job,
                            bool *out_replayed, struct ts_error *error)
{
	const struct ts_job *job = submit->job;

	if (!job->video_id)
		return ts_fail_field(error, TS_ERR_INVALID, "video_id", "is required");
	if (job->max_attempts < 1)
		return ts_fail_field(error, TS_ERR_INVALID, "max_attempts", "must be at least 1");
	assert((unsigned)job->priority < TS_PRIORITY_COUNT);
	assert(!submit->idempotency_key == !submit->request_digest);
	return store->ops->submit(store, submit, out_job, out_replayed, error);
}

enum ts_err ts_store_get(struct ts_store *store, const char *job_id, struct ts_job *out, struct ts_error *error)
{
	return store->ops->get(store, job_id, out, error);
}

enum ts_err ts_store_list(struct ts_store *store, const struct ts_job_filter *filter, struct ts_job_page *out,
                          struct ts_error *error)
{
	if (filter->limit < 1 || filter->limit > TS_STORE_PAGE_MAX)
		return ts_fail_field(error, TS_ERR_INVALID, "limit", "must be between 1 and %d", TS_STORE_PAGE_MAX);
	assert(!filter->has_state || (unsigned)filter->state < TS_JOB_STATE_COUNT);
	return store->ops->list(store, filter, out, error);
}

enum ts_err ts_store_counts(struct ts_store *store, struct ts_store_counts *out, struct ts_error *error)
{
	return store->ops->counts(store, out, error);
}

enum ts_err ts_store_transcript(struct ts_store *store, const char *job_id, struct ts_transcript *out,
                                struct ts_error *error)
{
	return store->ops->transcript(store, job_id, out, error);
}

enum ts_err ts_store_wait_change(struct ts_store *store, uint64_t *seen, int64_t timeout_ms, const atomic_bool *stop,
                                 struct ts_error *error)
{
	return store->ops->wait_change(store, seen, timeout_ms, stop, error);
}

void ts_store_wake(struct ts_store *store)
{
	store->ops->wake(store);
}

enum ts_err ts_store_cancel(struct ts_store *store, const char *job_id, struct ts_job *out, struct ts_error *error)
{
	return store->ops->cancel(store, job_id, out, error);
}

enum ts_err ts_store_retry(struct ts_store *store, const char *job_id, struct ts_job *out, struct ts_error *error)
{
	return store->ops->retry(store, job_id, out, error);
}

enum ts_err ts_store_delete(struct ts_store *store, const char *job_id, struct ts_error *error)
{
	return store->ops->remove(store, job_id, error);
}

enum ts_err ts_store_outbox_claim(struct ts_store *store, int64_t lease_ms, struct ts_outbox_item *items,
                                  size_t capacity, size_t *out_count, struct ts_error *error)
{
	assert(lease_ms > 0 && capacity > 0);
	return store->ops->outbox_claim(store, lease_ms, items, capacity, out_count, error);
}

enum ts_err ts_store_outbox_done(struct ts_store *store, const struct ts_outbox_item *items, size_t count,
                                 struct ts_error *error)
{
	if (count == 0)
		return TS_OK;
	return store->ops->outbox_done(store, items, count, error);
}

enum ts_err ts_store_claim(struct ts_store *store, const char *job_id, const char *owner, int64_t lease_ms,
                           struct ts_job *out_job, struct ts_lease *out_lease, struct ts_error *error)
{
	assert(owner[0] != '\0' && strlen(owner) < sizeof out_lease->owner);
	assert(lease_ms > 0);
	return store->ops->claim(store, job_id, owner, lease_ms, out_job, out_lease, error);
}

enum ts_err ts_store_heartbeat(struct ts_store *store, const struct ts_lease *lease, int64_t lease_ms,
                               const struct ts_progress *progress, struct ts_error *error)
{
	struct ts_progress bounded = *progress;

	assert(lease_ms > 0);
	// Progress is an estimate: an engine's 1.003 (or 0/0) is not worth failing a heartbeat for.
	if (!(bounded.fraction >= 0))
		bounded.fraction = 0;
	else if (bounded.fraction > 1)
		bounded.fraction = 1;
	return store->ops->heartbeat(store, lease, lease_ms, &bounded, error);
}

enum ts_err ts_store_lease_check(struct ts_store *store, const struct ts_lease *lease, struct ts_error *error)
{
	return store->ops->lease_check(store, lease, error);
}

enum ts_err ts_store_release(struct ts_store *store, const struct ts_lease *lease, struct ts_error *error)
{
	return store->ops->release(store, lease, error);
}

enum ts_err ts_store_fail(struct ts_store *store, const struct ts_lease *lease, const struct ts_error *cause,
                          int64_t retry_at, enum ts_job_state *out_state, struct ts_error *error)
{
	return store->ops->fail(store, lease, cause, retry_at, out_state, error);
}

enum ts_err ts_store_finish(struct ts_store *store, const struct ts_lease *lease,
                            const struct ts_transcript *transcript, struct ts_error *error)
{
	return store->ops->finish(store, lease, transcript, error);
}

enum ts_err ts_store_reap(struct ts_store *store, int64_t orphan_after_ms, struct ts_reaped *out,
                          struct ts_error *error)
{
	return store->ops->reap(store, orphan_after_ms, out, error);
}

enum ts_err ts_store_retire(struct ts_store *store, int64_t finished_before, unsigned limit, int64_t *out_deleted,
                            struct ts_error *error)
{
	return store->ops->retire(store, finished_before, limit, out_deleted, error);
}

enum ts_err ts_store_delivery_claim(struct ts_store *store, int64_t lease_ms, struct ts_delivery *out,
                                    int64_t *out_next_at, struct ts_error *error)
{
	assert(lease_ms > 0);
	return store->ops->delivery_claim(store, lease_ms, out, out_next_at, error);
}

enum ts_err ts_store_delivery_record(struct ts_store *store, const struct ts_delivery *delivery,
                                     const struct ts_delivery_attempt *attempt, enum ts_delivery_outcome outcome,
                                     int64_t next_attempt_at, struct ts_error *error)
{
	return store->ops->delivery_record(store, delivery, attempt, outcome, next_attempt_at, error);
}

enum ts_err ts_store_deliveries(struct ts_store *store, const char *job_id, struct ts_delivery_list *out,
                                struct ts_error *error)
{
	return store->ops->deliveries(store, job_id, out, error);
}

enum ts_err ts_store_redeliver(struct ts_store *store, const char *job_id, int64_t number, struct ts_error *error)
{
	return store->ops->redeliver(store, job_id, number, error);
}

enum ts_err ts_store_upload_create(struct ts_store *store, struct ts_upload *upload, struct ts_error *error)
{
	assert(upload->path);
	if (upload->id[0] && !ts_uuid_is_valid(upload->id))
		return ts_fail_field(error, TS_ERR_INVALID, "id", "must be a lower-case UUID");
	return store->ops->upload_create(store, upload, error);
}

enum ts_err ts_store_upload_get(struct ts_store *store, const char *id, struct ts_upload *out, struct ts_error *error)
{
	return store->ops->upload_get(store, id, out, error);
}

enum ts_err ts_store_uploads_expired(struct ts_store *store, struct ts_upload *items, size_t capacity,
                                     size_t *out_count, struct ts_error *error)
{
	return store->ops->uploads_expired(store, items, capacity, out_count, error);
}

enum ts_err ts_store_upload_forget(struct ts_store *store, const char *id, struct ts_error *error)
{
	return store->ops->upload_forget(store, id, error);
}

enum ts_err ts_store_ping(struct ts_store *store, struct ts_error *error)
{
	return store->ops->ping(store, error);
}

void ts_store_close(struct ts_store *store)
{
	if (store)
		store->ops->close(store);
}
