// Waiting for changes of the store, the part that needs no database: a generation that a back end's watcher raises.
#include "store/store_sql.h"

#include <time.h>

// A waiter looks at its stop flag this often: the flag may be set without a wake.
#define STOP_LOOK_MS 50

enum ts_err ts_sql_cond_init(pthread_cond_t *cond, struct ts_error *error)
{
	pthread_condattr_t attr;

	if (pthread_condattr_init(&attr) != 0)
		return ts_fail_nomem(error);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	int rc = pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
	if (rc != 0)
		return ts_fail_errno(error, TS_ERR_STORE, rc, "cannot make a condition");
	return TS_OK;
}

void ts_sql_cond_wait_ms(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t ms)
{
	struct timespec at;

	if (ms <= 0)
		return;
	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += (time_t)(ms / 1000);
	at.tv_nsec += (long)(ms % 1000) * 1000000L;
	if (at.tv_nsec >= 1000000000L) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000L;
	}
	pthread_cond_timedwait(cond, mutex, &at);
}

void ts_sql_wait_seen(struct ts_sql *sql)
{
	pthread_mutex_lock(&sql->wait.mutex);
	sql->wait.generation++;
	pthread_cond_broadcast(&sql->wait.cond);
	pthread_mutex_unlock(&sql->wait.mutex);
}

void ts_sql_wake(struct ts_store *store)
{
	ts_sql_wait_seen(ts_sql_of(store));
}

// Machine time on purpose: a caller's patience is real whatever the store's clock says.
enum ts_err ts_sql_wait_change(struct ts_store *store, uint64_t *seen, int64_t timeout_ms, const atomic_bool *stop,
                               struct ts_error *error)
{
	struct ts_sql *sql = ts_sql_of(store);
	int64_t end = ts_mono_ms(ts_clock_system()) + (timeout_ms > 0 ? timeout_ms : 0);

	pthread_mutex_lock(&sql->wait.mutex);
	enum ts_err err = sql->driver->watch(sql, error);
	while (err == TS_OK && *seen == sql->wait.generation && !(stop && atomic_load(stop))) {
		int64_t left = end - ts_mono_ms(ts_clock_system());
		if (left <= 0)
			break;
		if (stop && left > STOP_LOOK_MS)
			left = STOP_LOOK_MS;
		ts_sql_cond_wait_ms(&sql->wait.cond, &sql->wait.mutex, left);
	}
	if (err == TS_OK)
		*seen = sql->wait.generation;
	pthread_mutex_unlock(&sql->wait.mutex);
	return err;
}
