// Keeps the leases of running jobs alive and finds out which are lost. A job whose lease is gone (cancelled, deleted,
// taken over) or can't have survived the store's absence is told to stop; it then writes nothing.
#include "worker/worker_priv.h"

#include <string.h>

#define CANCEL_CHECK_DEFAULT_MS 250
// Progress reaches the store at most this often, besides the heartbeats that are due anyway.
#define PROGRESS_MS 500

// A run as seen under the lock, so that the store is asked without it.
struct watch {
	struct ts_slot *slot;
	uint64_t generation;
	struct ts_lease lease;
	int64_t claimed_mono;
	int stage;
	int64_t audio_ms, duration_ms;
};

static bool look(struct ts_worker *worker, unsigned index, struct watch *out)
{
	struct ts_slot *slot = &worker->slots[index];

	pthread_mutex_lock(&worker->lock);
	bool running = slot->state == TS_SLOT_RUNNING;
	if (running) {
		*out = (struct watch){
		    .slot = slot,
		    .generation = slot->generation,
		    .lease = slot->run.lease,
		    .claimed_mono = slot->run.claimed_mono,
		    .stage = atomic_load(&slot->run.stage),
		    .audio_ms = atomic_load(&slot->run.audio_ms),
		    .duration_ms = atomic_load(&slot->run.duration_ms),
		};
	}
	pthread_mutex_unlock(&worker->lock);
	return running;
}

static void stop(struct ts_worker *worker, const struct watch *watch, enum ts_run_stop reason)
{
	pthread_mutex_lock(&worker->lock);
	if (watch->slot->state == TS_SLOT_RUNNING && watch->slot->generation == watch->generation) {
		ts_run_stop(&watch->slot->run, reason);
		pthread_cond_broadcast(&worker->changed); // a run that waits to store its result looks up
	}
	pthread_mutex_unlock(&worker->lock);
}

static enum ts_err beat(struct ts_worker *worker, const struct watch *watch)
{
	struct ts_progress progress = {
	    .stage = ts_run_stage_name(watch->stage),
	    .media_duration_ms = watch->duration_ms,
	};

	if (watch->duration_ms > 0) {
		double fraction = (double)watch->audio_ms / (double)watch->duration_ms;
		progress.fraction = fraction > 1 ? 1 : fraction;
	}
	return ts_store_heartbeat(worker->options.store, &watch->lease, worker->options.lease_ms, &progress, NULL);
}

// Whether a heartbeat is due: by time, or because there is progress to tell.
static bool beat_is_due(const struct ts_worker *worker, const struct watch *watch, int64_t now)
{
	const struct ts_slot *slot = watch->slot;
	int64_t since = now - slot->beat_mono;

	if (since >= worker->options.lease_ms / 3 || slot->beat_failing)
		return true;
	return since >= PROGRESS_MS && (slot->beat_stage != watch->stage || slot->beat_audio_ms != watch->audio_ms);
}

static void watch_run(struct ts_worker *worker, const struct watch *watch)
{
	struct ts_slot *slot = watch->slot;
	int64_t now = ts_mono_ms(worker->options.clock);
	enum ts_err err;

	if (slot->watched != watch->generation + 1) {
		slot->watched = watch->generation + 1; // 0 is nobody
		slot->beat_mono = watch->claimed_mono;
		slot->beat_stage = watch->stage;
		slot->beat_audio_ms = watch->audio_ms;
		slot->beat_failing = false;
	}
	if (worker->options.job_timeout_ms > 0 && now - watch->claimed_mono >= worker->options.job_timeout_ms)
		stop(worker, watch, TS_RUN_TIMEOUT);
	if (beat_is_due(worker, watch, now)) {
		err = beat(worker, watch);
		slot->beat_failing = err != TS_OK;
		if (err == TS_OK) {
			slot->beat_mono = now;
			slot->beat_stage = watch->stage;
			slot->beat_audio_ms = watch->audio_ms;
		}
	} else {
		err = ts_store_lease_check(worker->options.store, &watch->lease, NULL);
	}
	if (err == TS_ERR_FENCED || err == TS_ERR_NOT_FOUND)
		stop(worker, watch, TS_RUN_FENCED);
	else if (ts_mono_ms(worker->options.clock) - slot->beat_mono >= worker->options.lease_ms)
		stop(worker, watch, TS_RUN_STORE_LOST);
}

void *ts_lease_main(void *arg)
{
	struct ts_worker *worker = arg;
	int64_t every = worker->options.cancel_check_ms > 0 ? worker->options.cancel_check_ms : CANCEL_CHECK_DEFAULT_MS;

	while (!atomic_load(&worker->quit)) {
		for (unsigned i = 0; i < worker->options.slots; i++) {
			struct watch watch;
			if (look(worker, i, &watch))
				watch_run(worker, &watch);
		}
		ts_worker_pause(worker, every, &worker->quit);
	}
	return NULL;
}
