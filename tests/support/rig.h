// What tests of the worker stand on: a real SQLite store and queue in a temporary folder, a clock that stands still
// until told, a scripted recogniser, a WAV file of one second, and a callback receiver.
#ifndef TESTS_SUPPORT_RIG_H
#define TESTS_SUPPORT_RIG_H

#include "engine_script.h"
#include "http_server.h"

#include "base/clock.h"
#include "net/netguard.h"
#include "store/store.h"
#include "worker/worker.h"

#include <pthread.h>

#define RIG_CALLBACKS_MAX 32
#define RIG_SECRET "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
#define RIG_START_MS INT64_C(1790000000000)

struct rig_callback {
	char id[64], timestamp[32], signature[256], type[64], traceparent[64], agent[128];
	char *body;
};

struct rig {
	char root[64]; // temporary folder: db, temp/, uploads/, media/
	char temp[80], uploads[80], media[80], database[96], wav[96];
	struct ts_clock_manual clock;
	struct ts_store *store;
	struct ts_queue *queue;    // of the test's thread
	struct ts_netguard *guard; // loopback is fine
	struct engine_script engine;
	struct http_server *server;
	struct ts_worker_options options;
	struct ts_worker *worker;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct rig_callback callbacks[RIG_CALLBACKS_MAX];
	unsigned callback_count;
	int answers[RIG_CALLBACKS_MAX]; // status of each callback's answer; 0: 200
	const char *answer_headers;
};

void rig_open(struct rig *rig);  // everything but the worker; options are filled
void rig_start(struct rig *rig); // the worker
void rig_close(struct rig *rig); // stops what runs, checks that no temporary file is left, removes the folder

// Submits and relays. `media_url` NULL and `upload_id` NULL: from the template. Returns the id (valid until the next).
const char *rig_submit(struct rig *rig, const char *media_url, const char *upload_id, bool callback);
void rig_relay(struct rig *rig); // the outbox's due rows to the queue
void rig_advance(struct rig *rig, int64_t ms);
// Waits until the job is in this state; *out is initialised by the call and filled; NULL: not wanted.
void rig_wait_state(struct rig *rig, const char *id, enum ts_job_state state, struct ts_job *out);
// The same, and so many attempts were begun.
void rig_wait_attempt(struct rig *rig, const char *id, enum ts_job_state state, int32_t attempt, struct ts_job *out);
void rig_wait_callbacks(struct rig *rig, unsigned count);
// Waits until the first delivery has so many attempts; the caller finishes *out.
void rig_wait_attempts(struct rig *rig, const char *id, size_t attempts, struct ts_delivery_list *out);
unsigned rig_temp_entries(const struct rig *rig);
const char *rig_url(const struct rig *rig, const char *path, char out[512]);
const char *rig_file_url(const struct rig *rig, char out[512]);
// Writes a PCM WAV file, 16 kHz mono, of so many samples.
void rig_write_wav(const char *path, size_t samples);

#endif
