#include "rig.h"

#include "base/mem.h"
#include "net/http.h"
#include "queue/queue_store.h"
#include "store/store_sqlite.h"
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 30

static void put_u32(FILE *file, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		fputc((int)(value >> (8 * i) & 0xff), file);
}

static void put_u16(FILE *file, uint32_t value)
{
	fputc((int)(value & 0xff), file);
	fputc((int)(value >> 8 & 0xff), file);
}

void rig_write_wav(const char *path, size_t samples)
{
	FILE *file = fopen(path, "wb");
	uint32_t bytes = (uint32_t)samples * 2;

	assert_non_null(file);
	fputs("RIFF", file);
	put_u32(file, 36 + bytes);
	fputs("WAVEfmt ", file);
	put_u32(file, 16);
	put_u16(file, 1);
	put_u16(file, 1);
	put_u32(file, 16000);
	put_u32(file, 32000);
	put_u16(file, 2);
	put_u16(file, 16);
	fputs("data", file);
	put_u32(file, bytes);
	for (size_t i = 0; i < samples; i++)
		put_u16(file, (uint32_t)(int32_t)(8000 * sin((double)i * 0.17)) & 0xffff);
	assert_int_equal(fclose(file), 0);
}

static void keep_header(struct http_exchange *exchange, const char *name, char *out, size_t size)
{
	char value[512];
	const char *found = http_header(exchange, name, value);

	snprintf(out, size, "%s", found ? found : "");
}

// "/callback" is received; "/media.wav" is the media; "/big" promises a lot; everything else is 404.
static void handle(void *ctx, struct http_exchange *exchange)
{
	struct rig *rig = ctx;

	if (strcmp(exchange->target, "/media.wav") == 0) {
		FILE *file = fopen(rig->wav, "rb");
		static const size_t most = 1 << 20;
		char *bytes = malloc(most);
		if (!file || !bytes)
			abort();
		size_t length = fread(bytes, 1, most, file);
		fclose(file);
		http_answer(exchange, 200, "Content-Type: audio/wav\r\n", bytes, length);
		free(bytes);
		return;
	}
	if (strcmp(exchange->target, "/big") == 0) {
		http_printf(exchange, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n");
		http_wait_closed(exchange);
		return;
	}
	if (strcmp(exchange->target, "/stall") == 0) {
		http_wait_closed(exchange);
		return;
	}
	if (strncmp(exchange->target, "/callback", 9) != 0) {
		http_answer(exchange, 404, "", "no", 2);
		return;
	}
	pthread_mutex_lock(&rig->lock);
	unsigned index = rig->callback_count < RIG_CALLBACKS_MAX ? rig->callback_count++ : RIG_CALLBACKS_MAX - 1;
	struct rig_callback *callback = &rig->callbacks[index];
	keep_header(exchange, "webhook-id", callback->id, sizeof callback->id);
	keep_header(exchange, "webhook-timestamp", callback->timestamp, sizeof callback->timestamp);
	keep_header(exchange, "webhook-signature", callback->signature, sizeof callback->signature);
	keep_header(exchange, "content-type", callback->type, sizeof callback->type);
	keep_header(exchange, "traceparent", callback->traceparent, sizeof callback->traceparent);
	keep_header(exchange, "user-agent", callback->agent, sizeof callback->agent);
	free(callback->body);
	callback->body = strdup(exchange->body ? exchange->body : "");
	int status = rig->answers[index] ? rig->answers[index] : 200;
	pthread_cond_broadcast(&rig->changed);
	pthread_mutex_unlock(&rig->lock);
	http_answer(exchange, status, rig->answer_headers ? rig->answer_headers : "", "thanks", 6);
}

static enum ts_err open_queue(void *ctx, struct ts_queue **out, struct ts_error *error)
{
	struct ts_queue_store_options options = {.store = ctx};

	return ts_queue_store_open(&options, out, error);
}

static void fill_options(struct rig *rig)
{
	static const int64_t schedule[] = {0, 5000, 300000};

	rig->options = (struct ts_worker_options){
	    .owner = "rig:1",
	    .slots = 2,
	    .store = rig->store,
	    .queue_open = open_queue,
	    .queue_ctx = rig->store,
	    .engine = &rig->engine.engine,
	    .clock = &rig->clock.clock,
	    .temp_dir = rig->temp,
	    .upload_dir = rig->uploads,
	    .media_file_root = rig->media,
	    .media_guard = rig->guard,
	    .max_media_bytes = 1 << 20,
	    .max_media_duration_ms = 3600000,
	    .fetch_timeout_ms = 20000,
	    .fetch_stall_ms = 10000,
	    .fetch_max_redirects = 3,
	    .job_timeout_ms = 3600000,
	    .lease_ms = 60000,
	    .cancel_check_ms = 5,
	    .retry_base_ms = 1000,
	    .retry_max_ms = 8000,
	    .reap_interval_ms = 1000,
	    .callback_secret = RIG_SECRET,
	    .callback_guard = rig->guard,
	    .callback_timeout_ms = 10000,
	    .callback_schedule_ms = schedule,
	    .callback_schedule_count = 3,
	    .callback_max_attempts = 4,
	};
}

void rig_open(struct rig *rig)
{
	struct ts_error error = {0};

	*rig = (struct rig){0};
	snprintf(rig->root, sizeof rig->root, "/tmp/ts-rig-XXXXXX");
	assert_non_null(mkdtemp(rig->root));
	snprintf(rig->temp, sizeof rig->temp, "%s/temp", rig->root);
	snprintf(rig->uploads, sizeof rig->uploads, "%s/uploads", rig->root);
	snprintf(rig->media, sizeof rig->media, "%s/media", rig->root);
	snprintf(rig->database, sizeof rig->database, "%s/db", rig->root);
	snprintf(rig->wav, sizeof rig->wav, "%s/one.wav", rig->media);
	assert_int_equal(mkdir(rig->temp, 0700) | mkdir(rig->uploads, 0700) | mkdir(rig->media, 0700), 0);
	rig_write_wav(rig->wav, 16000);
	ts_clock_manual_init(&rig->clock, RIG_START_MS);
	engine_script_init(&rig->engine, "hello world");
	pthread_mutex_init(&rig->lock, NULL);
	pthread_cond_init(&rig->changed, NULL);
	assert_ok(ts_http_global_init(&error), &error);
	assert_ok(ts_netguard_create("127.0.0.1", &rig->guard, &error), &error);
	struct ts_store_sqlite_options options = {
	    .path = rig->database, .clock = &rig->clock.clock, .public_url = "", .migrate = true, .busy_timeout_ms = 2000};
	assert_ok(ts_store_sqlite_open(&options, &rig->store, &error), &error);
	assert_ok(open_queue(rig->store, &rig->queue, &error), &error);
	rig->server = http_server_start(handle, rig);
	fill_options(rig);
}

void rig_start(struct rig *rig)
{
	struct ts_error error = {0};

	assert_ok(ts_worker_start(&rig->options, &rig->worker, &error), &error);
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
	(void)info;
	(void)kind;
	(void)where;
	return remove(path);
}

unsigned rig_temp_entries(const struct rig *rig)
{
	DIR *folder = opendir(rig->temp);
	const struct dirent *entry;
	unsigned count = 0;

	assert_non_null(folder);
	while ((entry = readdir(folder)) != NULL)
		count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(folder);
	return count;
}

void rig_close(struct rig *rig)
{
	ts_worker_destroy(rig->worker);
	rig->worker = NULL;
	unsigned left = rig_temp_entries(rig);
	http_server_stop(rig->server);
	ts_queue_close(rig->queue);
	ts_store_close(rig->store);
	ts_netguard_destroy(rig->guard);
	engine_script_finish(&rig->engine);
	for (unsigned i = 0; i < RIG_CALLBACKS_MAX; i++)
		free(rig->callbacks[i].body);
	pthread_cond_destroy(&rig->changed);
	pthread_mutex_destroy(&rig->lock);
	nftw(rig->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(left, 0);
}

void rig_relay(struct rig *rig)
{
	struct ts_outbox_item items[16];
	struct ts_error error = {0};
	size_t count;

	assert_ok(ts_store_outbox_claim(rig->store, 1000, items, 16, &count, &error), &error);
	for (size_t i = 0; i < count; i++)
		assert_ok(ts_queue_publish(rig->queue, items[i].job_id, items[i].priority, &error), &error);
	assert_ok(ts_store_outbox_done(rig->store, items, count, &error), &error);
}

const char *rig_submit(struct rig *rig, const char *media_url, const char *upload_id, bool callback)
{
	static char id[TS_UUID_SIZE];
	static char video[] = "video-1", user[] = "user-1", request[] = "req-1";
	static char trace[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
	TS_AUTOJOB struct ts_job stored;
	TS_AUTOFREE char *url = ts_strdup(media_url), *upload = ts_strdup(upload_id);
	char callback_url[512];
	struct ts_error error = {0};
	struct ts_job job;
	bool replayed;

	ts_job_init(&job);
	ts_job_init(&stored);
	job.video_id = video;
	job.user_id = user;
	job.request_id = request;
	job.traceparent = trace;
	job.media_url = url;
	job.upload_id = upload;
	job.max_attempts = 3;
	rig_url(rig, "/callback", callback_url);
	if (callback)
		job.callback_url = callback_url;
	struct ts_submit submit = {.job = &job};
	assert_ok(ts_store_submit(rig->store, &submit, &stored, &replayed, &error), &error);
	snprintf(id, sizeof id, "%s", stored.id);
	rig_relay(rig);
	return id;
}

void rig_advance(struct rig *rig, int64_t ms)
{
	atomic_fetch_add(&rig->clock.now_ms, ms);
	ts_store_wake(rig->store);
}

static bool patient(time_t until)
{
	return time(NULL) < until;
}

void rig_wait_state(struct rig *rig, const char *id, enum ts_job_state state, struct ts_job *out)
{
	rig_wait_attempt(rig, id, state, -1, out);
}

void rig_wait_attempt(struct rig *rig, const char *id, enum ts_job_state state, int32_t attempt, struct ts_job *out)
{
	TS_AUTOJOB struct ts_job job;
	struct ts_error error = {0};
	uint64_t seen = 0;
	time_t until = time(NULL) + PATIENCE_S;

	ts_job_init(&job);
	while (patient(until)) {
		assert_ok(ts_store_wait_change(rig->store, &seen, 1000, NULL, &error), &error);
		ts_job_finish(&job);
		assert_ok(ts_store_get(rig->store, id, &job, &error), &error);
		if (job.state != state || (attempt >= 0 && job.attempt != attempt))
			continue;
		if (out) {
			*out = job;
			ts_job_init(&job);
		}
		return;
	}
	fail_msg("the job is %s (%s), not %s", ts_job_state_name(job.state), job.error_message ? job.error_message : "",
	         ts_job_state_name(state));
}

void rig_wait_callbacks(struct rig *rig, unsigned count)
{
	struct timespec at;
	int failed = 0;

	clock_gettime(CLOCK_REALTIME, &at);
	at.tv_sec += PATIENCE_S;
	pthread_mutex_lock(&rig->lock);
	while (rig->callback_count < count && !failed)
		failed = pthread_cond_timedwait(&rig->changed, &rig->lock, &at);
	pthread_mutex_unlock(&rig->lock);
	if (failed)
		fail_msg("only %u of %u callbacks came", rig->callback_count, count);
}

void rig_wait_attempts(struct rig *rig, const char *id, size_t attempts, struct ts_delivery_list *out)
{
	struct ts_error error = {0};
	uint64_t seen = 0;
	time_t until = time(NULL) + PATIENCE_S;

	while (patient(until)) {
		*out = (struct ts_delivery_list){0};
		assert_ok(ts_store_wait_change(rig->store, &seen, 1000, NULL, &error), &error);
		assert_ok(ts_store_deliveries(rig->store, id, out, &error), &error);
		if (out->count && out->items[0].attempt_count >= attempts)
			return;
		ts_delivery_list_finish(out);
	}
	fail_msg("the callback never had %zu attempts", attempts);
}

const char *rig_url(const struct rig *rig, const char *path, char out[512])
{
	return http_server_url(rig->server, path, out);
}

const char *rig_file_url(const struct rig *rig, char out[512])
{
	snprintf(out, 512, "file://%s", rig->wav);
	return out;
}
