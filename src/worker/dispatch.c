// The dispatcher: waits for a free slot first and for a message then, so that no message waits in a busy worker.
// A message is a hint: the claim decides, and is committed before the message is acknowledged.
#include "worker/worker_priv.h"

#define RECEIVE_MS 30000
#define NACK_DELAY_MS 1000
#define BACKOFF_BASE_MS 200
#define BACKOFF_MAX_MS 10000

// NULL: draining.
static struct ts_slot *take_free_slot(struct ts_worker *worker)
{
	struct ts_slot *found = NULL;

	pthread_mutex_lock(&worker->lock);
	while (!found && !atomic_load(&worker->draining)) {
		for (unsigned i = 0; i < worker->options.slots && !found; i++) {
			if (worker->slots[i].state == TS_SLOT_FREE)
				found = &worker->slots[i];
		}
		if (!found)
			ts_worker_wait(worker, 60000);
	}
	if (found)
		found->state = TS_SLOT_TAKEN;
	pthread_mutex_unlock(&worker->lock);
	return found;
}

static void set_slot(struct ts_slot *slot, enum ts_slot_state state)
{
	pthread_mutex_lock(&slot->worker->lock);
	slot->state = state;
	pthread_cond_broadcast(&slot->worker->changed);
	pthread_mutex_unlock(&slot->worker->lock);
}

static void prepare(struct ts_run *run)
{
	ts_job_init(&run->job);
	atomic_store(&run->abort, false);
	atomic_store(&run->stop, TS_RUN_GOES_ON);
	atomic_store(&run->stage, TS_STAGE_FETCHING);
	atomic_store(&run->audio_ms, 0);
	atomic_store(&run->duration_ms, 0);
}

static void acknowledge(struct ts_worker *worker, struct ts_queue *queue, const struct ts_message *message)
{
	struct ts_error error = {0};

	// Not fatal: the message comes again and its claim finds nothing to do.
	if (ts_queue_ack(queue, message, &error) != TS_OK)
		ts_log_warn(&worker->options.log, "message not acknowledged", TS_STR("job_id", message->job_id),
		            TS_STR("error", error.message));
}

// A job that no worker could end is a matter for people: its message becomes a dead letter.
static void reject(struct ts_worker *worker, struct ts_queue *queue, const struct ts_message *message)
{
	struct ts_error error = {0};

	if (ts_queue_reject(queue, message, &error) != TS_OK)
		ts_log_warn(&worker->options.log, "message not rejected", TS_STR("job_id", message->job_id),
		            TS_STR("error", error.message));
}

// Claims what the message names. *out_claimed: the slot has a job now.
static enum ts_err claim(struct ts_worker *worker, struct ts_queue *queue, const struct ts_message *message,
                         struct ts_slot *slot, bool *out_claimed, struct ts_error *error)
{
	const struct ts_worker_options *options = &worker->options;
	struct ts_run *run = &slot->run;

	prepare(run);
	run->claimed_mono = ts_mono_ms(options->clock);
	run->claimed_wall = ts_wall_ms(options->clock);
	enum ts_err err = ts_store_claim(options->store, message->job_id, options->owner, options->lease_ms, &run->job,
	                                 &run->lease, error);
	switch ((int)err) {
	case TS_OK:
		acknowledge(worker, queue, message);
		*out_claimed = true;
		return TS_OK;
	case TS_ERR_NOT_FOUND:
		ts_log_debug(&options->log, "message without work", TS_STR("job_id", message->job_id));
		acknowledge(worker, queue, message);
		return TS_OK;
	case TS_ERR_ATTEMPTS:
		ts_log_warn(&options->log, "job failed: attempts used up", TS_STR("job_id", message->job_id),
		            TS_STR("error", error->message));
		reject(worker, queue, message);
		atomic_fetch_add(&worker->failed, 1);
		return TS_OK;
	default:
		// The message stays ours until its lease ends when even this fails.
		if (ts_queue_nack(queue, message, NACK_DELAY_MS, NULL) != TS_OK)
			ts_log_debug(&options->log, "message not given back", TS_STR("job_id", message->job_id));
		return err;
	}
}

static void set_queue(struct ts_worker *worker, struct ts_queue *queue)
{
	pthread_mutex_lock(&worker->lock);
	worker->queue = queue;
	pthread_mutex_unlock(&worker->lock);
}

static void close_queue(struct ts_worker *worker)
{
	struct ts_queue *queue = worker->queue; // set by this thread only

	set_queue(worker, NULL);
	ts_queue_close(queue);
}

static enum ts_err open_queue(struct ts_worker *worker, struct ts_error *error)
{
	struct ts_queue *queue;

	TS_TRY(worker->options.queue_open(worker->options.queue_ctx, &queue, error));
	set_queue(worker, queue);
	return TS_OK;
}

static enum ts_err next_job(struct ts_worker *worker, struct ts_slot *slot, bool *out_claimed, struct ts_error *error)
{
	struct ts_message message;

	*out_claimed = false;
	if (!worker->queue)
		TS_TRY(open_queue(worker, error));
	enum ts_err err = ts_queue_receive(worker->queue, RECEIVE_MS, &worker->draining, &message, error);
	if (err == TS_ERR_TIMEOUT || err == TS_ERR_ABORTED)
		return TS_OK;
	if (err != TS_OK) {
		close_queue(worker);
		return err;
	}
	if (atomic_load(&worker->draining))
		return ts_queue_nack(worker->queue, &message, 0, error);
	return claim(worker, worker->queue, &message, slot, out_claimed, error);
}

void *ts_dispatch_main(void *arg)
{
	struct ts_worker *worker = arg;
	struct ts_slot *slot;
	unsigned failures = 0;

	while ((slot = take_free_slot(worker)) != NULL) {
		struct ts_error error = {0};
		bool claimed = false;
		enum ts_err err = next_job(worker, slot, &claimed, &error);
		if (claimed) {
			atomic_fetch_add(&worker->claimed, 1);
			atomic_fetch_add(&worker->busy, 1);
		} else {
			ts_job_finish(&slot->run.job);
		}
		set_slot(slot, claimed ? TS_SLOT_READY : TS_SLOT_FREE);
		if (err == TS_OK) {
			failures = 0;
			continue;
		}
		ts_log_warn(&worker->options.log, "can't take jobs for now", TS_STR("error_code", ts_err_name(err)),
		            TS_STR("error", error.message));
		ts_worker_pause(worker, ts_worker_backoff(BACKOFF_BASE_MS, BACKOFF_MAX_MS, failures++), &worker->draining);
	}
	close_queue(worker);
	return NULL;
}
