// The engine `pocketsphinx`: a pool of decoders, made when first needed, each used by one run at a time. Runs above
// the number of slots wait for a decoder. English only, no translation, no use of a prompt.
#include "asr/engines.h"

#include "asr/model_digest.h"
#include "asr/ps_decoder.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SLOTS_MAX 256
#define WAIT_STEP_MS 200 // between two looks at the abort flag while waiting for a decoder

static const char *const model_files[] = {
    "cmudict-en-us.dict", "en-us.lm.bin",  "en-us/feat.params",         "en-us/mdef",      "en-us/means",
    "en-us/noisedict",    "en-us/sendump", "en-us/transition_matrices", "en-us/variances",
};
#define MODEL_FILE_COUNT (sizeof model_files / sizeof *model_files)

struct pocketsphinx {
	struct ts_asr base;
	char *model_dir;
	const struct ts_clock *clock;
	unsigned slots;

	pthread_mutex_t mutex; // everything below
	pthread_cond_t freed;  // a decoder came back, or the right to make one
	unsigned made;         // decoders in existence or being made
	unsigned idle_count;
	struct ts_ps_decoder *idle[SLOTS_MAX];
	char digest[TS_MODEL_DIGEST_SIZE]; // "" until the first run
};

static void info(const struct ts_asr *engine, struct ts_asr_info *out)
{
	const struct pocketsphinx *self = (const struct pocketsphinx *)engine;

	*out = (struct ts_asr_info){.engine = "pocketsphinx",
	                            .version = TS_POCKETSPHINX_VERSION,
	                            .model = "en-us",
	                            .local = true,
	                            .slots = self->slots};
}

static enum ts_err check(const struct ts_asr *engine, const char *language, enum ts_asr_task task,
                         struct ts_error *error)
{
	(void)engine;
	if (language && strcmp(language, "en") != 0)
		return ts_fail_field(error, TS_ERR_LANGUAGE, "language",
		                     "pocketsphinx recognises English only (\"en\"), not \"%s\"", language);
	if (task == TS_ASR_TRANSLATE)
		return ts_fail_field(error, TS_ERR_UNSUPPORTED, "task", "pocketsphinx does not translate");
	return TS_OK;
}

// Waits a step for a decoder to come back. The condition's clock is the monotonic one.
static void wait_step(struct pocketsphinx *self)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += WAIT_STEP_MS * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_cond_timedwait(&self->freed, &self->mutex, &until);
}

static enum ts_err acquire(struct pocketsphinx *self, const struct ts_asr_request *request, struct ts_ps_decoder **out,
                           struct ts_error *error)
{
	pthread_mutex_lock(&self->mutex);
	while (self->idle_count == 0 && self->made >= self->slots) {
		if (ts_asr_aborted(request)) {
			pthread_mutex_unlock(&self->mutex);
			return ts_asr_fail_aborted(error);
		}
		wait_step(self);
	}
	if (self->idle_count > 0) {
		*out = self->idle[--self->idle_count];
		pthread_mutex_unlock(&self->mutex);
		return TS_OK;
	}
	self->made++;
	pthread_mutex_unlock(&self->mutex);
	enum ts_err err = ts_ps_decoder_create(self->model_dir, out, error);
	if (err != TS_OK) {
		pthread_mutex_lock(&self->mutex);
		self->made--;
		pthread_cond_signal(&self->freed);
		pthread_mutex_unlock(&self->mutex);
	}
	return err;
}

// A decoder that is not fit for another run is destroyed; its slot is free either way.
static void release(struct pocketsphinx *self, struct ts_ps_decoder *decoder, bool fit)
{
	if (!fit)
		ts_ps_decoder_destroy(decoder);
	pthread_mutex_lock(&self->mutex);
	if (fit)
		self->idle[self->idle_count++] = decoder;
	else
		self->made--;
	pthread_cond_signal(&self->freed);
	pthread_mutex_unlock(&self->mutex);
}

static enum ts_err digest_of(struct pocketsphinx *self, char out[TS_MODEL_DIGEST_SIZE], struct ts_error *error)
{
	enum ts_err err = TS_OK;

	// Held while reading: the files are read once, and a run that needs the digest has nothing better to do.
	pthread_mutex_lock(&self->mutex);
	if (!self->digest[0])
		err = ts_model_digest(self->model_dir, model_files, MODEL_FILE_COUNT, self->digest, error);
	memcpy(out, self->digest, TS_MODEL_DIGEST_SIZE);
	pthread_mutex_unlock(&self->mutex);
	return err;
}

static enum ts_err decode(struct ts_ps_decoder *decoder, const struct ts_asr_request *request,
                          struct ts_transcript *out, struct ts_error *error)
{
	struct ts_asr_output output;
	struct ts_windows_options options = {
	    .max_ms = TS_PS_WINDOW_MAX_MS, .join_ms = TS_PS_PAUSE_JOIN_MS, .vad = request->vad, .output = &output};
	TS_AUTOWINDOWS struct ts_windows *windows = NULL;
	struct ts_window window;
	bool more;

	ts_asr_output_init(&output, request, out);
	TS_TRY(ts_windows_create(request, &options, &windows, error));
	ts_ps_decoder_reset(decoder);
	for (;;) {
		TS_TRY(ts_windows_next(windows, &window, &more, error));
		if (!more)
			break;
		TS_AUTOSEGMENT struct ts_segment pile;
		ts_segment_init(&pile);
		TS_TRY(ts_ps_decoder_window(decoder, &window, &output, &pile, error));
		TS_TRY(ts_asr_output_words(&output, &pile, error));
	}
	out->duration_ms = ts_windows_position_ms(windows);
	return TS_OK;
}

static enum ts_err write_receipt(struct pocketsphinx *self, const struct ts_asr_request *request, int64_t spent_ms,
                                 struct ts_transcript *out, struct ts_error *error)
{
	struct ts_receipt *receipt = &out->receipt;
	char digest[TS_MODEL_DIGEST_SIZE];

	TS_TRY(digest_of(self, digest, error));
	if (!ts_str_set(&out->language, "en") || !ts_str_set(&receipt->engine, "pocketsphinx") ||
	    !ts_str_set(&receipt->engine_version, TS_POCKETSPHINX_VERSION) || !ts_str_set(&receipt->model, "en-us") ||
	    !ts_str_set(&receipt->model_digest, digest) || !ts_str_set(&receipt->compute_type, "f32"))
		return ts_fail_nomem(error);
	TS_TRY(ts_ps_decoder_parameters(request->vad, &receipt->parameters, error));
	receipt->audio_seconds = (double)out->duration_ms / 1000;
	receipt->processing_seconds = (double)spent_ms / 1000;
	receipt->attempts = 1;
	return TS_OK;
}

static enum ts_err run(struct ts_asr *engine, const struct ts_asr_request *request, struct ts_transcript *out,
                       struct ts_error *error)
{
	struct pocketsphinx *self = (struct pocketsphinx *)engine;
	struct ts_ps_decoder *decoder = NULL;

	TS_TRY(acquire(self, request, &decoder, error));
	int64_t started = ts_mono_ms(self->clock);
	enum ts_err err = decode(decoder, request, out, error);
	release(self, decoder, err == TS_OK);
	TS_TRY(err);
	return write_receipt(self, request, ts_mono_ms(self->clock) - started, out, error);
}

static void destroy(struct ts_asr *engine)
{
	struct pocketsphinx *self = (struct pocketsphinx *)engine;

	assert(self->made == self->idle_count);
	for (unsigned i = 0; i < self->idle_count; i++)
		ts_ps_decoder_destroy(self->idle[i]);
	pthread_cond_destroy(&self->freed);
	pthread_mutex_destroy(&self->mutex);
	ts_free(self->model_dir);
	ts_free(self);
}

static const struct ts_asr_ops ops = {.info = info, .check = check, .run = run, .destroy = destroy};

// The library exits when some of its files are missing, so that is found out first.
static enum ts_err check_model(const char *model_dir, struct ts_error *error)
{
	for (size_t i = 0; i < MODEL_FILE_COUNT; i++) {
		TS_AUTOFREE char *path = ts_asprintf("%s/%s", model_dir, model_files[i]);
		if (!path)
			return ts_fail_nomem(error);
		if (access(path, R_OK) != 0)
			return ts_fail_errno(error, TS_ERR_ENGINE_UNAVAILABLE, errno,
			                     "pocketsphinx has no model: %s (Debian's package pocketsphinx-en-us holds it)", path);
	}
	return TS_OK;
}

// CPUs that this process may use, which in a container is less than what the machine has.
static unsigned cpu_count(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof set, &set) != 0)
		return 1;
	int count = CPU_COUNT(&set);
	return count > 0 ? (unsigned)count : 1;
}

enum ts_err ts_asr_pocketsphinx_create(const struct ts_asr_pocketsphinx_options *options, struct ts_asr **out,
                                       struct ts_error *error)
{
	TS_TRY(check_model(options->model_dir, error));
	struct pocketsphinx *self = ts_calloc(1, sizeof *self);
	if (!self)
		return ts_fail_nomem(error);
	self->model_dir = ts_strdup(options->model_dir);
	if (!self->model_dir) {
		ts_free(self);
		return ts_fail_nomem(error);
	}
	self->clock = options->clock;
	self->slots = options->slots ? options->slots : cpu_count();
	if (self->slots > SLOTS_MAX)
		self->slots = SLOTS_MAX;
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&self->freed, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_mutex_init(&self->mutex, NULL);
	ts_asr_init(&self->base, &ops);
	*out = &self->base;
	return TS_OK;
}
