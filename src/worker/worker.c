// Start and stop of the worker's threads, and what they all use to wait.
#include "worker/worker_priv.h"

#include "base/mem.h"
#include "worker/tempdir.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

// --- waiting ---

static struct timespec deadline_in(int64_t timeout_ms)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += (time_t)(timeout_ms / 1000);
	at.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	return at;
}

bool ts_worker_wait(struct ts_worker *worker, int64_t timeout_ms)
{
	struct timespec at = deadline_in(timeout_ms);

	return pthread_cond_timedwait(&worker->changed, &worker->lock, &at) != ETIMEDOUT;
}

void ts_worker_pause(struct ts_worker *worker, int64_t timeout_ms, const atomic_bool *until)
{
	struct timespec at = deadline_in(timeout_ms);

	pthread_mutex_lock(&worker->lock);
	while (!atomic_load(until)) {
		if (pthread_cond_timedwait(&worker->changed, &worker->lock, &at) == ETIMEDOUT)
			break;
	}
	pthread_mutex_unlock(&worker->lock);
}

int64_t ts_worker_backoff(int64_t base_ms, int64_t max_ms, unsigned failures)
{
	int64_t delay = base_ms;

	for (unsigned i = 0; i < failures && delay < max_ms; i++)
		delay = delay > max_ms / 2 ? max_ms : delay * 2;
	return delay < max_ms ? delay : max_ms;
}

// --- start ---

static enum ts_err init_locks(struct ts_worker *worker, struct ts_error *error)
{
	pthread_condattr_t attributes;

	if (pthread_condattr_init(&attributes) != 0)
		return ts_fail_nomem(error);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	int failed = pthread_cond_init(&worker->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	if (failed)
		return ts_fail_nomem(error);
	pthread_mutex_init(&worker->lock, NULL);
	pthread_mutex_init(&worker->deliver_lead, NULL);
	return TS_OK;
}

static enum ts_err start_thread(pthread_t *thread, void *(*body)(void *), void *arg, struct ts_error *error)
{
	int failed = pthread_create(thread, NULL, body, arg);

	if (failed)
		return ts_fail_errno(error, TS_ERR_INTERNAL, failed, "can't start a thread of the worker");
	return TS_OK;
}

// Signals are the program's: no thread of ours takes one.
static enum ts_err start_threads(struct ts_worker *worker, struct ts_error *error)
{
	for (unsigned i = 0; i < worker->options.slots; i++) {
		struct ts_slot *slot = &worker->slots[i];
		TS_TRY(start_thread(&slot->thread, ts_slot_main, slot, error));
		slot->has_thread = true;
	}
	TS_TRY(start_thread(&worker->leases, ts_lease_main, worker, error));
	worker->has_leases = true;
	TS_TRY(start_thread(&worker->house, ts_house_main, worker, error));
	worker->has_house = true;
	while (worker->deliverer_count < TS_WORKER_DELIVERERS) {
		TS_TRY(start_thread(&worker->deliverers[worker->deliverer_count], ts_deliver_main, worker, error));
		worker->deliverer_count++;
	}
	TS_TRY(start_thread(&worker->dispatcher, ts_dispatch_main, worker, error));
	worker->has_dispatcher = true;
	return TS_OK;
}

static enum ts_err check(const struct ts_worker_options *options, struct ts_error *error)
{
	if (options->slots == 0)
		return ts_fail(error, TS_ERR_INVALID, "a worker needs at least one slot");
	if (!options->owner || !*options->owner || strlen(options->owner) >= sizeof((struct ts_lease *)0)->owner)
		return ts_fail(error, TS_ERR_INVALID, "the lease owner must have 1 to 63 bytes");
	if (options->lease_ms <= 0)
		return ts_fail(error, TS_ERR_INVALID, "the lease must be longer than nothing");
	return TS_OK;
}

static void sweep(struct ts_worker *worker)
{
	struct ts_error error = {0};
	unsigned removed = 0;

	if (ts_tempdir_sweep(worker->options.temp_dir, &removed, &error) != TS_OK)
		ts_log_warn(&worker->options.log, "temporary folder not swept", TS_STR("error", error.message));
	else if (removed)
		ts_log_info(&worker->options.log, "temporary folders of dead attempts removed", TS_INT("count", removed));
}

// Without a pool each job starts its own decoder.
static void start_pool(struct ts_worker *worker)
{
	struct ts_media_options media = {.pool = NULL};
	struct ts_error error = {0};

	if (ts_media_pool_create(&media, &worker->pool, &error) != TS_OK)
		ts_log_warn(&worker->options.log, "no template of decoders", TS_STR("error", error.message));
}

enum ts_err ts_worker_start(const struct ts_worker_options *options, struct ts_worker **out, struct ts_error *error)
{
	sigset_t all, before;

	TS_TRY(check(options, error));
	struct ts_worker *worker = ts_calloc(1, sizeof *worker);
	struct ts_slot *slots = ts_calloc(options->slots, sizeof *slots);
	if (!worker || !slots || init_locks(worker, NULL) != TS_OK) {
		ts_free(slots);
		ts_free(worker);
		return ts_fail_nomem(error);
	}
	worker->options = *options;
	worker->slots = slots;
	for (unsigned i = 0; i < options->slots; i++)
		slots[i].worker = worker;
	sweep(worker);
	start_pool(worker);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	enum ts_err err = start_threads(worker, error);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err != TS_OK) {
		ts_worker_destroy(worker);
		return err;
	}
	*out = worker;
	return TS_OK;
}

// --- stop ---

static void set_flag(struct ts_worker *worker, atomic_bool *flag)
{
	pthread_mutex_lock(&worker->lock);
	atomic_store(flag, true);
	pthread_cond_broadcast(&worker->changed);
	if (worker->queue)
		ts_queue_wake(worker->queue);
	pthread_mutex_unlock(&worker->lock);
	ts_store_wake(worker->options.store);
}

void ts_worker_drain(struct ts_worker *worker)
{
	set_flag(worker, &worker->draining);
}

static unsigned busy_slots(const struct ts_worker *worker)
{
	unsigned busy = 0;

	for (unsigned i = 0; i < worker->options.slots; i++)
		busy += worker->slots[i].state == TS_SLOT_READY || worker->slots[i].state == TS_SLOT_RUNNING;
	return busy;
}

// All jobs through, and the callbacks that they made due sent.
static bool settled(const struct ts_worker *worker)
{
	return busy_slots(worker) == 0 && worker->deliveries_in_flight == 0 &&
	       (worker->finals_settled == worker->finals_written || worker->deliverer_count == 0);
}

static void wait_settled(struct ts_worker *worker, int64_t grace_ms)
{
	struct timespec at = deadline_in(grace_ms);

	pthread_mutex_lock(&worker->lock);
	while (!settled(worker)) {
		if (pthread_cond_timedwait(&worker->changed, &worker->lock, &at) == ETIMEDOUT)
			break;
	}
	pthread_mutex_unlock(&worker->lock);
}

static void hand_back(struct ts_worker *worker)
{
	pthread_mutex_lock(&worker->lock);
	for (unsigned i = 0; i < worker->options.slots; i++) {
		struct ts_slot *slot = &worker->slots[i];
		if (slot->state == TS_SLOT_READY || slot->state == TS_SLOT_RUNNING)
			ts_run_stop(&slot->run, TS_RUN_SHUTDOWN);
	}
	pthread_cond_broadcast(&worker->changed);
	while (busy_slots(worker) > 0)
		ts_worker_wait(worker, 1000);
	worker->slots_quit = true;
	pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
}

void ts_worker_stop(struct ts_worker *worker, int64_t grace_ms)
{
	if (worker->stopped)
		return;
	worker->stopped = true;
	ts_worker_drain(worker);
	if (worker->has_dispatcher)
		pthread_join(worker->dispatcher, NULL);
	wait_settled(worker, grace_ms);
	hand_back(worker); // leases are kept until the last job is settled
	for (unsigned i = 0; i < worker->options.slots; i++) {
		if (worker->slots[i].has_thread)
			pthread_join(worker->slots[i].thread, NULL);
	}
	set_flag(worker, &worker->quit); // first: what is cut short now is not claimed again
	set_flag(worker, &worker->deliver_abort);
	for (unsigned i = 0; i < worker->deliverer_count; i++)
		pthread_join(worker->deliverers[i], NULL);
	if (worker->has_house)
		pthread_join(worker->house, NULL);
	if (worker->has_leases)
		pthread_join(worker->leases, NULL);
}

void ts_worker_destroy(struct ts_worker *worker)
{
	if (!worker)
		return;
	ts_worker_stop(worker, 0);
	ts_media_pool_destroy(worker->pool);
	pthread_mutex_destroy(&worker->deliver_lead);
	pthread_mutex_destroy(&worker->lock);
	pthread_cond_destroy(&worker->changed);
	ts_free(worker->slots);
	ts_free(worker);
}

void ts_worker_stats(const struct ts_worker *worker, struct ts_worker_stats *out)
{
	*out = (struct ts_worker_stats){
	    .slots = worker->options.slots,
	    .busy = atomic_load(&worker->busy),
	    .claimed = atomic_load(&worker->claimed),
	    .completed = atomic_load(&worker->completed),
	    .failed = atomic_load(&worker->failed),
	    .retried = atomic_load(&worker->retried),
	    .released = atomic_load(&worker->released),
	    .lost = atomic_load(&worker->lost),
	    .deliveries_ok = atomic_load(&worker->deliveries_ok),
	    .deliveries_failed = atomic_load(&worker->deliveries_failed),
	    .audio_seconds = (double)atomic_load(&worker->audio_ms) / 1000,
	    .recognition_seconds = (double)atomic_load(&worker->recognition_ms) / 1000,
	};
}
