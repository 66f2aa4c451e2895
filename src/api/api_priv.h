// What the files of this room share: the server and a request being answered.
#ifndef TS_API_API_PRIV_H
#define TS_API_API_PRIV_H

#include "api/api.h"
#include "api/auth.h"
#include "api/conns.h"
#include "api/form.h"
#include "api/metrics.h"
#include "api/problem.h"
#include "api/query.h"
#include "api/relay.h"
#include "api/reply.h"
#include "api/router.h"
#include "api/wait.h"
#include "api/wire.h"
#include "base/buf.h"
#include "base/rng.h"
#include "net/httpd.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#define TS_REQUEST_ID_MAX 128

struct ts_server_thread {
	struct ts_api *api;
	struct ts_httpd *httpd;
};

struct ts_api {
	struct ts_api_options options;
	struct ts_wire_rules rules;
	struct ts_server_thread *threads;
	unsigned thread_count;
	int listener; // shared by all of them; -1: none
	uint16_t port;
	struct ts_auth *auth;
	struct ts_metrics *metrics;
	struct ts_conns *conns;
	struct ts_waiters *waiters;
	struct ts_relay *relay;
	struct ts_rng rng;
	atomic_bool draining;
	bool stopped;

	pthread_t ticker;
	bool ticking;
	pthread_mutex_t tick_mutex;
	pthread_cond_t tick_cond; // a connection came, or tick_stop
	pthread_cond_t done_cond; // a request is answered
	bool connected;           // under tick_mutex: there may be connections
	bool tick_stop;           // under tick_mutex

	pthread_mutex_t queue_mutex;
	struct ts_queue *queue; // for readiness and metrics, under queue_mutex; NULL: to be opened
};

struct ts_request {
	struct ts_api *api;
	struct ts_httpd *httpd; // which serves it
	struct MHD_Connection *connection;
	struct ts_conn *conn;
	struct ts_log log; // with request_id
	int64_t started_ms, waited_ms;

	enum ts_method method;
	char *path; // as sent
	struct ts_match match;
	char request_id[TS_REQUEST_ID_MAX + 1];
	char traceparent[56]; // "": none
	char caller[TS_AUTH_CALLER_SIZE];
	char job_id[TS_UUID_SIZE]; // for the log; "": none

	bool expects_continue;
	bool has_body;
	bool endless; // the body's end can't be told
	bool failed;  // problem holds the answer; the rest of the body is thrown away
	bool told;    // the answer went out before the body's end; the connection only waits for its close
	struct ts_problem problem;
	uint64_t received, discarded;
	struct ts_buf body;   // of JSON
	struct ts_form *form; // NULL: not a form

	struct ts_waiter waiter;
	unsigned status; // answered; 0: not yet
};

// The value of a header, NULL when absent.
const char *ts_request_header(const struct ts_request *request, const char *name);
// The decoded query, limited to `known` (see query.h).
enum ts_err ts_request_query(const struct ts_request *request, const char *const *known, struct ts_query *out,
                             struct ts_problem *problem) TS_MUST_USE;
// Milliseconds since the epoch, by the server's clock.
int64_t ts_request_now(const struct ts_request *request);

// A connection came; a request is answered (api.c).
void ts_api_wake_ticker(struct ts_api *api);
void ts_api_request_done(struct ts_api *api);

// The HTTP daemons and their threads (server.c).
enum ts_err ts_server_start(struct ts_api *api, struct ts_error *error) TS_MUST_USE;
void ts_server_quiesce(struct ts_api *api); // no more connections
void ts_server_stop(struct ts_api *api);

// Runs `use` with a queue handle, opened when needed; at most one thread at a time.
enum ts_err ts_api_with_queue(struct ts_api *api, enum ts_err (*use)(void *, struct ts_queue *, struct ts_error *),
                              void *ctx, struct ts_error *error) TS_MUST_USE;

#endif
