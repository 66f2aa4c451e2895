// What a benchmark stands on: a folder on the disk to be measured, the store and the options of the rooms in it as the
// programs set them (src/bin), with their defaults. Ends the process with a message when something fails: a benchmark
// that goes on would measure something else.
#ifndef BENCH_PLACE_H
#define BENCH_PLACE_H

#include "api/api.h"
#include "base/log.h"
#include "store/store.h"
#include "worker/worker.h"

#include <stddef.h>

struct bench_place {
	char root[256];
	char database[320], temp[320], uploads[320], log_path[320];
	char media_root[4096]; // folder of the media file
	char media_url[4352];  // file:// of it
	struct ts_log_sink sink;
	struct ts_log log;
	// Of the process that opened it.
	struct ts_store *store;
	struct ts_netguard *guard;
};

// Makes the folder, named by chance, below `parent`.
void bench_place_make(struct bench_place *place, const char *parent, const char *media);
// Opens log, store and guard for this process: after the fork, before its threads.
void bench_place_open(struct bench_place *place, const char *component);
void bench_place_close(struct bench_place *place);
void bench_place_remove(struct bench_place *place);

struct ts_worker_options bench_worker_options(const struct bench_place *place, struct ts_asr *engine, unsigned slots);
struct ts_api_options bench_api_options(const struct bench_place *place);

enum ts_err bench_queue_open(void *store, struct ts_queue **out, struct ts_error *error) TS_MUST_USE;

// Prints "name: message" and ends with status 2.
void bench_die(const char *format, ...) TS_PRINTF(1, 2) TS_NORETURN;
// bench_die with the error's message unless err is TS_OK.
void bench_must(enum ts_err err, const struct ts_error *error, const char *what);

// --- numbers ---

struct bench_samples {
	double *values; // owned
	size_t count, capacity;
};
void bench_samples_add(struct bench_samples *samples, double value);
// The p-th percentile, p in [0, 100], nearest rank; sorts.
double bench_percentile(struct bench_samples *samples, double p);
void bench_samples_finish(struct bench_samples *samples);

#endif
