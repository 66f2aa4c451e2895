// The store under test: one table of back ends, each opened on fresh ground with a manual clock. TS_STORE_BACKEND names
// the one a program runs against (the first by itself): each contract test is run once for each of them.
#ifndef TS_TESTS_STORE_FIXTURE_H
#define TS_TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "pg_server.h"
#include "store/store_pg.h"
#include "store/store_sqlite.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define T0 INT64_C(1790000000000)
#define LEASE INT64_C(30000)

struct fixture;

struct store_backend {
	const char *name;
	void (*prepare)(struct fixture *f); // NULL: nothing
	// Another handle on the same ground, as another process would have it.
	enum ts_err (*open)(struct fixture *f, struct ts_store **out, struct ts_error *error);
};

struct fixture {
	const struct store_backend *backend;
	char dir[128];
	char path[160];
	char url[120]; // of the database, for PostgreSQL
	struct ts_clock_manual clock;
	const struct ts_clock *use_clock; // NULL: the manual one
	struct ts_store *store;
	struct ts_error error;
};

static TS_UNUSED enum ts_err sqlite_open(struct fixture *f, struct ts_store **out, struct ts_error *error)
{
	struct ts_store_sqlite_options options = {
	    .path = f->path,
	    .clock = f->use_clock ? f->use_clock : &f->clock.clock,
	    .public_url = "https://api.example",
	    .migrate = true,
	};

	return ts_store_sqlite_open(&options, out, error);
}

static TS_UNUSED void pg_prepare(struct fixture *f)
{
	pg_server_database(f->url, sizeof f->url);
}

static TS_UNUSED enum ts_err pg_open(struct fixture *f, struct ts_store **out, struct ts_error *error)
{
	struct ts_store_pg_options options = {
	    .address = {.url = f->url},
	    .clock = f->use_clock ? f->use_clock : &f->clock.clock,
	    .public_url = "https://api.example",
	    .migrate = true,
	};

	return ts_store_pg_open(&options, out, error);
}

static const struct store_backend store_backends[] = {{"sqlite", NULL, sqlite_open},
                                                      {"postgresql", pg_prepare, pg_open}};
#define STORE_BACKENDS (sizeof store_backends / sizeof store_backends[0])

static inline const struct store_backend *asked_backend(void)
{
	const char *asked = getenv("TS_STORE_BACKEND");

	for (size_t i = 0; asked && i < STORE_BACKENDS; i++)
		if (strcmp(store_backends[i].name, asked) == 0)
			return &store_backends[i];
	if (asked) {
		fprintf(stderr, "TS_STORE_BACKEND: there is no back end %s\n", asked);
		exit(1);
	}
	return &store_backends[0];
}

static inline int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	const char *tmp = getenv("TMPDIR");

	assert_non_null(f);
	f->backend = asked_backend();
	snprintf(f->dir, sizeof f->dir, "%.90s/ts-store-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof f->path, "%s/store.db", f->dir);
	ts_clock_manual_init(&f->clock, T0);
	if (f->backend->prepare)
		f->backend->prepare(f);
	if (f->backend->open(f, &f->store, &f->error) != TS_OK)
		fail_msg("open: %s", f->error.message);
	*state = f;
	return 0;
}

static inline int fixture_remove(const char *path, const struct stat *st, int flag, struct FTW *walk)
{
	(void)st;
	(void)flag;
	(void)walk;
	return remove(path);
}

static inline int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	ts_store_close(f->store);
	nftw(f->dir, fixture_remove, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

// The call passes &f->error last.
#define ok(call)                                                                   \
	do {                                                                           \
		enum ts_err ok_err = (call);                                               \
		if (ok_err != TS_OK)                                                       \
			fail_msg("%s: %s (%s)", #call, ts_err_name(ok_err), f->error.message); \
	} while (0)
#define fails(expected, call)                                                           \
	do {                                                                                \
		enum ts_err fails_err = (call);                                                 \
		if (fails_err != (expected))                                                    \
			fail_msg("%s: %s instead of %s", #call, ts_err_name(fails_err), #expected); \
	} while (0)

static inline void advance(struct fixture *f, int64_t ms)
{
	atomic_fetch_add(&f->clock.now_ms, ms);
}

static inline int64_t now_of(struct fixture *f)
{
	return atomic_load(&f->clock.now_ms);
}

// A job as an API would submit it; strings are literals, so it is never finished.
static inline struct ts_job a_job(void)
{
	static char video[] = "video-1", user[] = "user-1", url[] = "https://receiver.example/hook";
	struct ts_job job;

	ts_job_init(&job);
	job.video_id = video;
	job.user_id = user;
	job.callback_url = url;
	job.max_attempts = 3;
	return job;
}

static inline void submit_job(struct fixture *f, const struct ts_job *job, struct ts_job *out)
{
	struct ts_submit submit = {.job = job};
	bool replayed = true;

	ok(ts_store_submit(f->store, &submit, out, &replayed, &f->error));
	assert_false(replayed);
}

// Submits a_job() and leaves its id.
static inline void submit_id(struct fixture *f, char id[TS_UUID_SIZE])
{
	TS_AUTOJOB struct ts_job out;
	struct ts_job job = a_job();

	ts_job_init(&out);
	submit_job(f, &job, &out);
	memcpy(id, out.id, TS_UUID_SIZE);
}

static inline void claim_id(struct fixture *f, const char *id, const char *owner, struct ts_lease *lease)
{
	TS_AUTOJOB struct ts_job job;

	ts_job_init(&job);
	ok(ts_store_claim(f->store, id, owner, LEASE, &job, lease, &f->error));
}

static inline enum ts_job_state state_of(struct fixture *f, const char *id)
{
	TS_AUTOJOB struct ts_job job;

	ts_job_init(&job);
	ok(ts_store_get(f->store, id, &job, &f->error));
	return job.state;
}

// A transcript of two segments; the caller finishes it.
static inline void a_transcript(struct ts_transcript *out)
{
	static const char *const texts[] = {"the quick brown fox", "jumps over the lazy dog"};
	struct ts_error error;

	ts_transcript_init(out);
	out->duration_ms = 4200;
	out->language = ts_strdup("en");
	for (int i = 0; i < 2; i++) {
		struct ts_segment segment;
		ts_segment_init(&segment);
		segment.text = ts_strdup(texts[i]);
		segment.start_ms = i * 2000;
		segment.end_ms = i * 2000 + 1900;
		assert_int_equal(TS_OK, ts_segment_add_word(&segment, "word", i * 2000, i * 2000 + 400, 0.5f, &error));
		assert_int_equal(TS_OK, ts_transcript_add(out, &segment, &error));
	}
}

static inline void finish_lease(struct fixture *f, const struct ts_lease *lease)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;

	a_transcript(&transcript);
	ok(ts_store_finish(f->store, lease, &transcript, &f->error));
}

static inline struct ts_store_counts counts_of(struct fixture *f)
{
	struct ts_store_counts counts;

	ok(ts_store_counts(f->store, &counts, &f->error));
	return counts;
}

#define store_test(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

// Runs the suite against the back end that was asked for; returns the number of failures.
#define run_store_tests(tests) \
	_cmocka_run_group_tests(asked_backend()->name, tests, sizeof(tests) / sizeof((tests)[0]), NULL, NULL)

#endif
