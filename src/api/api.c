// The room's front door: starts the threads in an order in which each finds what it needs, and stops them in the
// reverse. The ticker cuts off late connections and ends long polls whose time is up.
#include "api/api_priv.h"

#include "api/uploads.h"
#include "base/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS 50

enum ts_err ts_api_with_queue(struct ts_api *api, enum ts_err (*use)(void *, struct ts_queue *, struct ts_error *),
                              void *ctx, struct ts_error *error)
{
	enum ts_err err = TS_OK;

	pthread_mutex_lock(&api->queue_mutex);
	if (!api->queue)
		err = api->options.queue_open(api->options.queue_ctx, &api->queue, error);
	if (err == TS_OK)
		err = use(ctx, api->queue, error); // the handle stays after a failure: it knows when it may try again
	else
		api->queue = NULL;
	pthread_mutex_unlock(&api->queue_mutex);
	return err;
}

static struct timespec in_ms(int64_t ms)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += ms / 1000;
	at.tv_nsec += (ms % 1000) * 1000000;
	if (at.tv_nsec >= 1000000000L) {
		at.tv_nsec -= 1000000000L;
		at.tv_sec++;
	}
	return at;
}

void ts_api_wake_ticker(struct ts_api *api)
{
	pthread_mutex_lock(&api->tick_mutex);
	api->connected = true;
	pthread_cond_broadcast(&api->tick_cond);
	pthread_mutex_unlock(&api->tick_mutex);
}

void ts_api_request_done(struct ts_api *api)
{
	pthread_mutex_lock(&api->tick_mutex);
	pthread_cond_broadcast(&api->done_cond);
	pthread_mutex_unlock(&api->tick_mutex);
}

// Without connections nothing can be late, and the thread rests.
static void *tick(void *arg)
{
	struct ts_api *api = arg;

	pthread_mutex_lock(&api->tick_mutex);
	while (!api->tick_stop) {
		if (!api->connected) {
			pthread_cond_wait(&api->tick_cond, &api->tick_mutex);
			continue;
		}
		const struct timespec until = in_ms(TICK_MS);
		while (!api->tick_stop && pthread_cond_timedwait(&api->tick_cond, &api->tick_mutex, &until) != ETIMEDOUT)
			;
		api->connected = false;
		pthread_mutex_unlock(&api->tick_mutex);
		unsigned connections = ts_conns_sweep(api->conns);
		ts_waiters_expire(api->waiters);
		pthread_mutex_lock(&api->tick_mutex);
		api->connected = api->connected || connections > 0;
	}
	pthread_mutex_unlock(&api->tick_mutex);
	return NULL;
}

static void init_sync(struct ts_api *api)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&api->queue_mutex, NULL);
	pthread_mutex_init(&api->tick_mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&api->tick_cond, &attr);
	pthread_cond_init(&api->done_cond, &attr);
	pthread_condattr_destroy(&attr);
}

static enum ts_err start(struct ts_api *api, struct ts_error *error)
{
	const struct ts_api_options *options = &api->options;
	struct ts_relay_options relay = {.store = options->store,
	                                 .queue_open = options->queue_open,
	                                 .queue_ctx = options->queue_ctx,
	                                 .log = &api->options.log};

	TS_TRY(ts_auth_create(options->api_keys, &api->auth, error));
	TS_TRY(ts_metrics_create(&api->metrics, error));
	TS_TRY(ts_conns_create(options->clock, options->request_timeout_ms, &api->conns, error));
	TS_TRY(ts_waiters_start(options->store, options->clock, &api->options.log, &api->waiters, error));
	relay.metrics = api->metrics;
	TS_TRY(ts_relay_start(&relay, &api->relay, error));
	int failed = pthread_create(&api->ticker, NULL, tick, api);
	if (failed)
		return ts_fail_errno(error, TS_ERR_INTERNAL, failed, "cannot start the ticker's thread");
	api->ticking = true;
	return ts_server_start(api, error);
}

enum ts_err ts_api_start(const struct ts_api_options *options, struct ts_api **out, struct ts_error *error)
{
	struct ts_api *api = ts_calloc(1, sizeof *api);

	if (!api)
		return ts_fail_nomem(error);
	api->options = *options;
	if (!api->options.public_url)
		api->options.public_url = "";
	api->rules = (struct ts_wire_rules){.has_media_template = options->has_media_template,
	                                    .has_media_file_root = options->has_media_file_root,
	                                    .check_language = options->check_language,
	                                    .check_ctx = options->check_ctx};
	api->rng = ts_rng_system();
	api->listener = -1;
	init_sync(api);
	unsigned swept = ts_uploads_sweep(options->upload_dir);
	if (swept)
		ts_log_info(&api->options.log, "removed what interrupted uploads left", TS_INT("files", swept));
	enum ts_err err = start(api, error);
	if (err != TS_OK) {
		ts_api_destroy(api);
		return err;
	}
	*out = api;
	return TS_OK;
}

uint16_t ts_api_port(const struct ts_api *api)
{
	return api->port;
}

void ts_api_drain(struct ts_api *api)
{
	atomic_store(&api->draining, true);
	ts_waiters_drain(api->waiters);
}

// Waits until no request is being answered, or the time is up.
static void let_finish(struct ts_api *api, int64_t grace_ms)
{
	const struct timespec until = in_ms(grace_ms);

	pthread_mutex_lock(&api->tick_mutex);
	while (ts_metrics_in_flight(api->metrics) > 0 &&
	       pthread_cond_timedwait(&api->done_cond, &api->tick_mutex, &until) != ETIMEDOUT)
		;
	pthread_mutex_unlock(&api->tick_mutex);
}

void ts_api_stop(struct ts_api *api, int64_t grace_ms)
{
	if (api->stopped)
		return;
	api->stopped = true;
	if (api->waiters)
		ts_api_drain(api);
	ts_server_quiesce(api);
	if (api->thread_count)
		let_finish(api, grace_ms);
	ts_server_stop(api);
	if (api->ticking) {
		pthread_mutex_lock(&api->tick_mutex);
		api->tick_stop = true;
		pthread_cond_signal(&api->tick_cond);
		pthread_mutex_unlock(&api->tick_mutex);
		pthread_join(api->ticker, NULL);
		api->ticking = false;
	}
	ts_relay_destroy(api->relay);
	api->relay = NULL;
	ts_waiters_destroy(api->waiters);
	api->waiters = NULL;
}

void ts_api_destroy(struct ts_api *api)
{
	if (!api)
		return;
	ts_api_stop(api, 0);
	ts_queue_close(api->queue);
	ts_conns_destroy(api->conns);
	ts_metrics_destroy(api->metrics);
	ts_auth_destroy(api->auth);
	pthread_cond_destroy(&api->done_cond);
	pthread_cond_destroy(&api->tick_cond);
	pthread_mutex_destroy(&api->tick_mutex);
	pthread_mutex_destroy(&api->queue_mutex);
	ts_free(api);
}
