// The relay's loop. Rows that other processes write (a reaper's, a retry's) are found by looking once a second.
#include "api/relay.h"

#include "api/metrics.h"
#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#define BATCH 64
#define LEASE_MS 10000
#define POLL_MS 1000

struct ts_relay {
	struct ts_relay_options options;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool kicked, stop;      // under mutex
	struct ts_queue *queue; // the thread's
	bool failing;           // the last try failed: said once
};

static bool is_stopping(struct ts_relay *relay)
{
	pthread_mutex_lock(&relay->mutex);
	bool stop = relay->stop;
	pthread_mutex_unlock(&relay->mutex);
	return stop;
}

// Waits for a kick or the next look. False: stop.
static bool rest(struct ts_relay *relay)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += POLL_MS / 1000;
	pthread_mutex_lock(&relay->mutex);
	while (!relay->stop && !relay->kicked) {
		if (pthread_cond_timedwait(&relay->cond, &relay->mutex, &until) == ETIMEDOUT)
			break;
	}
	relay->kicked = false;
	bool stop = relay->stop;
	pthread_mutex_unlock(&relay->mutex);
	return !stop;
}

static void note_failure(struct ts_relay *relay, const char *what, const struct ts_error *error)
{
	if (!relay->failing)
		ts_log_warn(relay->options.log, what, TS_STR("error", ts_err_name(error->code)),
		            TS_STR("reason", error->message));
	relay->failing = true;
	ts_metrics_published(relay->options.metrics, 0, 1);
}

// Publishes one batch. True: there may be more.
static bool publish_batch(struct ts_relay *relay)
{
	struct ts_outbox_item items[BATCH];
	struct ts_queue_item messages[BATCH];
	struct ts_error error = {0};
	size_t count = 0, published = 0;

	if (!relay->queue && relay->options.queue_open(relay->options.queue_ctx, &relay->queue, &error) != TS_OK) {
		relay->queue = NULL;
		note_failure(relay, "the queue is not available; jobs wait in the outbox", &error);
		return false;
	}
	// While the queue is away, rows are not taken only to be put back.
	if (relay->failing && ts_queue_ping(relay->queue, &error) != TS_OK)
		return false;
	if (ts_store_outbox_claim(relay->options.store, LEASE_MS, items, BATCH, &count, &error) != TS_OK) {
		note_failure(relay, "the outbox cannot be read", &error);
		return false;
	}
	for (size_t i = 0; i < count; i++)
		messages[i] = (struct ts_queue_item){.job_id = items[i].job_id, .priority = items[i].priority};
	// The handle stays after a failure: it knows when it may try again.
	if (ts_queue_publish_many(relay->queue, messages, count, &published, &error) != TS_OK)
		note_failure(relay, "publishing failed; jobs wait in the outbox", &error);
	// A row that is published but not removed is published again after its lease: harmless.
	if (published && ts_store_outbox_done(relay->options.store, items, published, &error) != TS_OK) {
		note_failure(relay, "the outbox cannot be written", &error);
		return false;
	}
	ts_metrics_published(relay->options.metrics, published, 0);
	if (published == count && relay->failing) {
		relay->failing = false;
		ts_log_info(relay->options.log, "the outbox is published again");
	}
	return published == BATCH;
}

static void *run(void *arg)
{
	struct ts_relay *relay = arg;

	do {
		while (publish_batch(relay) && !is_stopping(relay))
			;
	} while (rest(relay));
	ts_queue_close(relay->queue);
	return NULL;
}

enum ts_err ts_relay_start(const struct ts_relay_options *options, struct ts_relay **out, struct ts_error *error)
{
	pthread_condattr_t attr;
	struct ts_relay *relay = ts_calloc(1, sizeof *relay);

	if (!relay)
		return ts_fail_nomem(error);
	relay->options = *options;
	pthread_mutex_init(&relay->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&relay->cond, &attr);
	pthread_condattr_destroy(&attr);
	int failed = pthread_create(&relay->thread, NULL, run, relay);
	if (failed) {
		pthread_cond_destroy(&relay->cond);
		pthread_mutex_destroy(&relay->mutex);
		ts_free(relay);
		return ts_fail_errno(error, TS_ERR_INTERNAL, failed, "cannot start the relay's thread");
	}
	*out = relay;
	return TS_OK;
}

void ts_relay_kick(struct ts_relay *relay)
{
	pthread_mutex_lock(&relay->mutex);
	relay->kicked = true;
	pthread_cond_signal(&relay->cond);
	pthread_mutex_unlock(&relay->mutex);
}

void ts_relay_destroy(struct ts_relay *relay)
{
	if (!relay)
		return;
	pthread_mutex_lock(&relay->mutex);
	relay->stop = true;
	pthread_cond_signal(&relay->cond);
	pthread_mutex_unlock(&relay->mutex);
	pthread_join(relay->thread, NULL);
	pthread_cond_destroy(&relay->cond);
	pthread_mutex_destroy(&relay->mutex);
	ts_free(relay);
}
