#include "place.h"

#include "base/mem.h"
#include "net/http.h"
#include "net/url.h"
#include "queue/queue_store.h"
#include "store/store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOUR_MS (3600 * INT64_C(1000))
#define SECRET "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

void bench_die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(2);
}

void bench_must(enum ts_err err, const struct ts_error *error, const char *what)
{
	if (err != TS_OK)
		bench_die("%s: %s (%s)", what, error->message, ts_err_name(err));
}

// The file:// URL of an absolute path: its steps are percent-encoded, the slashes between them stay.
static void file_url(char *path, char *out, size_t size)
{
	size_t length = (size_t)snprintf(out, size, "file://");
	char *rest = path, *step;

	while ((step = strsep(&rest, "/")) != NULL) {
		TS_AUTOFREE char *escaped = ts_url_escape(step);
		if (!escaped)
			bench_die("out of memory");
		int written = snprintf(out + length, size - length, "%s%s", escaped, rest ? "/" : "");
		if (written < 0 || (size_t)written >= size - length)
			bench_die("the path of the media file is too long");
		length += (size_t)written;
	}
}

void bench_place_make(struct bench_place *place, const char *parent, const char *media)
{
	char absolute[PATH_MAX], file[PATH_MAX];

	*place = (struct bench_place){0};
	if (!realpath(parent, absolute))
		bench_die("cannot use the folder %s: %s", parent, strerror(errno));
	if (snprintf(place->root, sizeof place->root, "%s/bench-XXXXXX", absolute) >= (int)sizeof place->root)
		bench_die("the path of %s is too long", parent);
	if (!realpath(media, file))
		bench_die("cannot use the media file %s: %s", media, strerror(errno));
	if (!mkdtemp(place->root))
		bench_die("cannot make a folder in %s: %s", parent, strerror(errno));
	snprintf(place->database, sizeof place->database, "%s/transcription.db", place->root);
	snprintf(place->temp, sizeof place->temp, "%s/tmp", place->root);
	snprintf(place->uploads, sizeof place->uploads, "%s/uploads", place->root);
	snprintf(place->log_path, sizeof place->log_path, "%s/log", place->root);
	if (mkdir(place->temp, 0700) != 0 || mkdir(place->uploads, 0700) != 0)
		bench_die("cannot make folders in %s: %s", place->root, strerror(errno));
	snprintf(place->media_root, sizeof place->media_root, "%s", file);
	*strrchr(place->media_root, '/') = '\0';
	file_url(file, place->media_url, sizeof place->media_url);
}

void bench_place_open(struct bench_place *place, const char *component)
{
	struct ts_error error = {0};
	int fd = open(place->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0)
		bench_die("cannot write %s: %s", place->log_path, strerror(errno));
	place->sink = (struct ts_log_sink){
	    .fd = fd, .format = TS_LOG_JSON, .level = TS_LOG_INFO, .component = component, .clock = ts_clock_system()};
	place->log = ts_log_to(&place->sink);
	bench_must(ts_http_global_init(&error), &error, "libcurl");
	bench_must(ts_netguard_create("127.0.0.1", &place->guard, &error), &error, "guard");
	struct ts_store_sqlite_options options = {
	    .path = place->database, .clock = ts_clock_system(), .public_url = "", .migrate = true, .log = &place->log};
	bench_must(ts_store_sqlite_open(&options, &place->store, &error), &error, "store");
}

void bench_place_close(struct bench_place *place)
{
	ts_store_close(place->store);
	ts_netguard_destroy(place->guard);
	close(place->sink.fd);
	place->store = NULL;
	place->guard = NULL;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
	(void)info;
	(void)kind;
	(void)where;
	return remove(path);
}

void bench_place_remove(struct bench_place *place)
{
	nftw(place->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

enum ts_err bench_queue_open(void *store, struct ts_queue **out, struct ts_error *error)
{
	struct ts_queue_store_options options = {.store = store};

	return ts_queue_store_open(&options, out, error);
}

struct ts_worker_options bench_worker_options(const struct bench_place *place, struct ts_asr *engine, unsigned slots)
{
	static const int64_t schedule[] = {0, 5000, 300000};

	return (struct ts_worker_options){
	    .owner = "bench",
	    .slots = slots,
	    .store = place->store,
	    .queue_open = bench_queue_open,
	    .queue_ctx = place->store,
	    .engine = engine,
	    .clock = ts_clock_system(),
	    .log = place->log,
	    .temp_dir = place->temp,
	    .upload_dir = place->uploads,
	    .media_file_root = place->media_root,
	    .media_guard = place->guard,
	    .max_media_bytes = UINT64_C(4096) << 20,
	    .max_media_duration_ms = 24 * HOUR_MS,
	    .fetch_timeout_ms = HOUR_MS,
	    .fetch_stall_ms = 30000,
	    .fetch_max_redirects = 5,
	    .decoder_memory_bytes = UINT64_C(1) << 30,
	    .vad = true,
	    .job_timeout_ms = 4 * HOUR_MS,
	    .lease_ms = 60000,
	    .retry_base_ms = 5000,
	    .retry_max_ms = 300000,
	    .callback_secret = SECRET,
	    .callback_guard = place->guard,
	    .callback_timeout_ms = 20000,
	    .callback_schedule_ms = schedule,
	    .callback_schedule_count = sizeof schedule / sizeof *schedule,
	    .callback_max_attempts = 10,
	};
}

struct ts_api_options bench_api_options(const struct bench_place *place)
{
	return (struct ts_api_options){
	    .host = "127.0.0.1",
	    .threads = 4,
	    .max_connections = 1024,
	    .store = place->store,
	    .queue_open = bench_queue_open,
	    .queue_ctx = place->store,
	    .clock = ts_clock_system(),
	    .log = place->log,
	    .api_keys = "",
	    .public_url = "",
	    .upload_dir = place->uploads,
	    .has_media_file_root = true,
	    .max_body_bytes = 65536,
	    .max_upload_bytes = UINT64_C(4096) << 20,
	    .max_headers = 100,
	    .max_header_bytes = 65536,
	    .request_timeout_ms = 30000,
	    .upload_timeout_ms = HOUR_MS,
	    .max_wait_ms = 60000,
	    .max_queued = 10000,
	    .upload_ttl_ms = 24 * HOUR_MS,
	    .idempotency_ttl_ms = 24 * HOUR_MS,
	    .job_max_attempts = 1, // a failure is a failure of the benchmark
	};
}

void bench_samples_add(struct bench_samples *samples, double value)
{
	if (samples->count == samples->capacity) {
		size_t capacity = samples->capacity ? samples->capacity * 2 : 128;
		double *values = realloc(samples->values, capacity * sizeof *values);
		if (!values)
			bench_die("out of memory");
		samples->values = values;
		samples->capacity = capacity;
	}
	samples->values[samples->count++] = value;
}

static int ascending(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_percentile(struct bench_samples *samples, double p)
{
	if (samples->count == 0)
		return (double)NAN;
	qsort(samples->values, samples->count, sizeof *samples->values, ascending);
	const double rank = ceil(p / 100 * (double)samples->count);
	return samples->values[rank < 1 ? 0 : (size_t)rank - 1];
}

void bench_samples_finish(struct bench_samples *samples)
{
	free(samples->values);
	*samples = (struct bench_samples){0};
}
