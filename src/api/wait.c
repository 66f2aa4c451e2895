// A resumed connection runs its access handler again on its own thread, where the job is read afresh: what this file
// looks at only decides when that is worth doing.
#include "api/wait.h"

#include "base/mem.h"
#include "net/httpd.h"

#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define POLL_MS 1000

struct ts_waiters {
	struct ts_store *store;
	const struct ts_clock *clock;
	const struct ts_log *log;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	struct ts_waiter *first; // the members below are under mutex
	unsigned count;
	bool draining;
	atomic_bool stop;
};

static void unlink_waiter(struct ts_waiters *waiters, struct ts_waiter *waiter)
{
	if (waiter->prev)
		waiter->prev->next = waiter->next;
	else
		waiters->first = waiter->next;
	if (waiter->next)
		waiter->next->prev = waiter->prev;
	waiter->next = waiter->prev = NULL;
	waiter->waiting = false;
	waiters->count--;
}

static void resume(struct ts_waiters *waiters, struct ts_waiter *waiter)
{
	struct MHD_Connection *connection = waiter->connection;
	struct ts_httpd *httpd = waiter->httpd;

	unlink_waiter(waiters, waiter);
	MHD_resume_connection(connection); // the waiter may be gone from here on
	ts_httpd_wake(httpd);
}

// Whether a waiter of this job has something to hear. A store that fails is something too: the handler will say so.
static bool has_ended(struct ts_waiters *waiters, const char *job_id)
{
	TS_AUTOJOB struct ts_job job;

	ts_job_init(&job);
	return ts_store_get(waiters->store, job_id, &job, NULL) != TS_OK || ts_job_state_is_final(job.state);
}

static void resume_job(struct ts_waiters *waiters, const char *job_id)
{
	pthread_mutex_lock(&waiters->mutex);
	for (struct ts_waiter *waiter = waiters->first, *next; waiter; waiter = next) {
		next = waiter->next;
		if (strcmp(waiter->job_id, job_id) == 0)
			resume(waiters, waiter);
	}
	pthread_mutex_unlock(&waiters->mutex);
}

// Looks at every job that somebody waits for. The list is copied, so that the store is read without the mutex.
static void look(struct ts_waiters *waiters)
{
	pthread_mutex_lock(&waiters->mutex);
	size_t count = 0;
	char(*ids)[TS_UUID_SIZE] = ts_calloc(waiters->count, sizeof *ids);
	for (struct ts_waiter *waiter = waiters->first; ids && waiter; waiter = waiter->next) {
		bool seen = false;
		for (size_t i = 0; i < count && !seen; i++)
			seen = strcmp(ids[i], waiter->job_id) == 0;
		if (!seen)
			memcpy(ids[count++], waiter->job_id, TS_UUID_SIZE);
	}
	pthread_mutex_unlock(&waiters->mutex);
	for (size_t i = 0; i < count; i++) {
		if (has_ended(waiters, ids[i]))
			resume_job(waiters, ids[i]);
	}
	ts_free(ids);
}

// Waits until somebody waits. False: stop.
static bool somebody(struct ts_waiters *waiters)
{
	pthread_mutex_lock(&waiters->mutex);
	while (!waiters->first && !atomic_load(&waiters->stop))
		pthread_cond_wait(&waiters->cond, &waiters->mutex);
	pthread_mutex_unlock(&waiters->mutex);
	return !atomic_load(&waiters->stop);
}

// After a failure of the store: not at once again.
static void pause_a_moment(struct ts_waiters *waiters)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += POLL_MS / 1000;
	pthread_mutex_lock(&waiters->mutex);
	while (!atomic_load(&waiters->stop) && pthread_cond_timedwait(&waiters->cond, &waiters->mutex, &until) != ETIMEDOUT)
		;
	pthread_mutex_unlock(&waiters->mutex);
}

static void *run(void *arg)
{
	struct ts_waiters *waiters = arg;
	struct ts_error error = {0};
	uint64_t seen = 0;

	while (somebody(waiters)) {
		enum ts_err err = ts_store_wait_change(waiters->store, &seen, POLL_MS, &waiters->stop, &error);
		if (err != TS_OK && err != TS_ERR_TIMEOUT && err != TS_ERR_ABORTED) {
			ts_log_warn(waiters->log, "cannot follow the store's changes", TS_STR("error", ts_err_name(err)),
			            TS_STR("reason", error.message));
			pause_a_moment(waiters);
		}
		if (!atomic_load(&waiters->stop))
			look(waiters);
	}
	return NULL;
}

enum ts_err ts_waiters_start(struct ts_store *store, const struct ts_clock *clock, const struct ts_log *log,
                             struct ts_waiters **out, struct ts_error *error)
{
	pthread_condattr_t attr;
	struct ts_waiters *waiters = ts_calloc(1, sizeof *waiters);

	if (!waiters)
		return ts_fail_nomem(error);
	waiters->store = store;
	waiters->clock = clock;
	waiters->log = log;
	pthread_mutex_init(&waiters->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&waiters->cond, &attr);
	pthread_condattr_destroy(&attr);
	int failed = pthread_create(&waiters->thread, NULL, run, waiters);
	if (failed) {
		pthread_cond_destroy(&waiters->cond);
		pthread_mutex_destroy(&waiters->mutex);
		ts_free(waiters);
		return ts_fail_errno(error, TS_ERR_INTERNAL, failed, "cannot start the thread of the long polls");
	}
	*out = waiters;
	return TS_OK;
}

void ts_waiters_destroy(struct ts_waiters *waiters)
{
	if (!waiters)
		return;
	pthread_mutex_lock(&waiters->mutex);
	atomic_store(&waiters->stop, true);
	pthread_cond_broadcast(&waiters->cond);
	pthread_mutex_unlock(&waiters->mutex);
	ts_store_wake(waiters->store);
	pthread_join(waiters->thread, NULL);
	pthread_cond_destroy(&waiters->cond);
	pthread_mutex_destroy(&waiters->mutex);
	ts_free(waiters);
}

bool ts_waiters_add(struct ts_waiters *waiters, struct ts_waiter *waiter, struct MHD_Connection *connection,
                    struct ts_httpd *httpd, const char *job_id, int64_t timeout_ms)
{
	pthread_mutex_lock(&waiters->mutex);
	bool draining = waiters->draining;
	if (!draining) {
		waiter->connection = connection;
		waiter->httpd = httpd;
		memcpy(waiter->job_id, job_id, TS_UUID_SIZE);
		waiter->since = ts_mono_ms(waiters->clock);
		waiter->deadline = waiter->since + timeout_ms;
		waiter->waiting = waiter->waited = true;
		waiter->prev = NULL;
		waiter->next = waiters->first;
		if (waiters->first)
			waiters->first->prev = waiter;
		waiters->first = waiter;
		waiters->count++;
		MHD_suspend_connection(connection);
		pthread_cond_broadcast(&waiters->cond);
	}
	pthread_mutex_unlock(&waiters->mutex);
	// The job may have ended after the handler read it and before it stood in the list, where no change would tell.
	if (!draining && has_ended(waiters, job_id))
		resume_job(waiters, job_id);
	return !draining;
}

void ts_waiters_forget(struct ts_waiters *waiters, struct ts_waiter *waiter)
{
	pthread_mutex_lock(&waiters->mutex);
	if (waiter->waiting)
		unlink_waiter(waiters, waiter);
	pthread_mutex_unlock(&waiters->mutex);
}

void ts_waiters_expire(struct ts_waiters *waiters)
{
	int64_t now = ts_mono_ms(waiters->clock);

	pthread_mutex_lock(&waiters->mutex);
	for (struct ts_waiter *waiter = waiters->first, *next; waiter; waiter = next) {
		next = waiter->next;
		if (waiter->deadline <= now)
			resume(waiters, waiter);
	}
	pthread_mutex_unlock(&waiters->mutex);
}

void ts_waiters_drain(struct ts_waiters *waiters)
{
	pthread_mutex_lock(&waiters->mutex);
	waiters->draining = true;
	while (waiters->first)
		resume(waiters, waiters->first);
	pthread_mutex_unlock(&waiters->mutex);
}

unsigned ts_waiters_count(struct ts_waiters *waiters)
{
	pthread_mutex_lock(&waiters->mutex);
	unsigned count = waiters->count;
	pthread_mutex_unlock(&waiters->mutex);
	return count;
}
