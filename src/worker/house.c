// Housekeeping, by any worker at any time: expired leases, forgotten queued jobs, retention, uploads nobody uses.
#include "base/mem.h"
#include "worker/worker_priv.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define REAP_DEFAULT_MS 5000
#define ORPHAN_DEFAULT_MS (5 * 60 * INT64_C(1000))
#define RETIRE_BATCH 200
#define UPLOAD_BATCH 32

static enum ts_err reap(struct ts_worker *worker, struct ts_error *error)
{
	struct ts_reaped reaped = {0};
	int64_t orphan_after = worker->options.orphan_after_ms;

	TS_TRY(ts_store_reap(worker->options.store, orphan_after > 0 ? orphan_after : ORPHAN_DEFAULT_MS, &reaped, error));
	if (reaped.requeued || reaped.exhausted || reaped.republished)
		ts_log_warn(&worker->options.log, "jobs without a worker found", TS_INT("requeued", reaped.requeued),
		            TS_INT("failed", reaped.exhausted), TS_INT("republished", reaped.republished));
	return TS_OK;
}

static enum ts_err retire(struct ts_worker *worker, struct ts_error *error)
{
	int64_t keep = worker->options.retention_ms;
	// 0 retires no job, but forgets idempotency keys past their time.
	int64_t before = keep > 0 ? ts_wall_ms(worker->options.clock) - keep : 0;
	int64_t deleted, all = 0;

	do {
		TS_TRY(ts_store_retire(worker->options.store, before, RETIRE_BATCH, &deleted, error));
		all += deleted;
	} while (deleted >= RETIRE_BATCH && !atomic_load(&worker->quit));
	if (all)
		ts_log_info(&worker->options.log, "old jobs deleted", TS_INT("count", all));
	return TS_OK;
}

static enum ts_err remove_upload(struct ts_worker *worker, const struct ts_upload *upload, struct ts_error *error)
{
	if (upload->path && upload->path[0] != '/' && !strstr(upload->path, "..")) {
		TS_AUTOFREE char *path = ts_asprintf("%s/%s", worker->options.upload_dir, upload->path);
		if (!path)
			return ts_fail_nomem(error);
		if (unlink(path) != 0 && errno != ENOENT)
			return ts_fail_errno(error, TS_ERR_IO, errno, "can't remove the uploaded file %s", upload->path);
	}
	return ts_store_upload_forget(worker->options.store, upload->id, error);
}

static enum ts_err remove_uploads(struct ts_worker *worker, struct ts_error *error)
{
	struct ts_upload uploads[UPLOAD_BATCH] = {0};
	size_t count = 0, removed = 0;
	enum ts_err err;

	TS_TRY(ts_store_uploads_expired(worker->options.store, uploads, UPLOAD_BATCH, &count, error));
	err = TS_OK;
	for (size_t i = 0; i < count; i++) {
		enum ts_err one = remove_upload(worker, &uploads[i], error);
		if (one == TS_OK || one == TS_ERR_NOT_FOUND) // another worker was faster
			removed++;
		else
			err = one;
		ts_upload_finish(&uploads[i]);
	}
	if (removed)
		ts_log_info(&worker->options.log, "unused uploads removed", TS_INT("count", removed));
	return err;
}

void *ts_house_main(void *arg)
{
	static enum ts_err (*const chores[])(struct ts_worker *, struct ts_error *) = {reap, retire, remove_uploads};
	struct ts_worker *worker = arg;
	int64_t every = worker->options.reap_interval_ms > 0 ? worker->options.reap_interval_ms : REAP_DEFAULT_MS;

	while (!atomic_load(&worker->quit)) {
		for (size_t i = 0; i < sizeof chores / sizeof chores[0]; i++) {
			struct ts_error error = {0};
			enum ts_err err = chores[i](worker, &error);
			if (err != TS_OK)
				ts_log_warn(&worker->options.log, "housekeeping failed", TS_STR("error_code", ts_err_name(err)),
				            TS_STR("error", error.message));
		}
		ts_worker_pause(worker, every, &worker->quit);
	}
	return NULL;
}
