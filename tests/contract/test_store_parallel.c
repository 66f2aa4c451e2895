// Contract of the store under threads, processes and their sudden end: one winner, nothing lost, waiters woken.
#include "process.h"

#include <pthread.h>

#define THREADS 8

struct crew {
	struct fixture *f;
	struct ts_store *store; // of this thread
	pthread_barrier_t *start;
	int number;
	const char *job_id;
	int64_t max_queued;
	const char *key;
	// results
	int won, refused, broken;
	char id[TS_UUID_SIZE];
	uint64_t seen;
	const atomic_bool *stop;
	enum ts_err err;
};

static void run_crew(struct crew crew[THREADS], void *(*work)(void *))
{
	pthread_t threads[THREADS];
	pthread_barrier_t start;

	pthread_barrier_init(&start, NULL, THREADS);
	for (int i = 0; i < THREADS; i++) {
		crew[i].start = &start;
		crew[i].number = i;
		assert_int_equal(pthread_create(&threads[i], NULL, work, &crew[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&start);
}

static void *claim_work(void *arg)
{
	struct crew *me = arg;
	struct ts_lease lease;
	struct ts_error error;
	TS_AUTOJOB struct ts_job job;
	char owner[16];

	ts_job_init(&job);
	snprintf(owner, sizeof owner, "w%d", me->number);
	pthread_barrier_wait(me->start);
	enum ts_err err = ts_store_claim(me->store, me->job_id, owner, LEASE, &job, &lease, &error);
	me->won = err == TS_OK;
	me->broken = err != TS_OK && err != TS_ERR_NOT_FOUND;
	return NULL;
}

static void exactly_one_claim_wins(void **state)
{
	struct fixture *f = *state;
	struct ts_store *second;

	ok(f->backend->open(f, &second,
	                    &f->error)); // half of the threads are another process, as far as the store can tell
	for (int round = 0; round < 10; round++) {
		struct crew crew[THREADS];
		char id[TS_UUID_SIZE];
		int won = 0, broken = 0;
		submit_id(f, id);
		for (int i = 0; i < THREADS; i++)
			crew[i] = (struct crew){.f = f, .store = i % 2 ? second : f->store, .job_id = id};
		run_crew(crew, claim_work);
		for (int i = 0; i < THREADS; i++) {
			won += crew[i].won;
			broken += crew[i].broken;
		}
		assert_int_equal(broken, 0);
		assert_int_equal(won, 1);
	}
	ts_store_close(second);
}

static void *submit_work(void *arg)
{
	struct crew *me = arg;
	struct ts_job job = a_job();
	struct ts_submit submit = {.job = &job,
	                           .max_queued = me->max_queued,
	                           .idempotency_key = me->key,
	                           .request_digest = me->key,
	                           .idempotency_ttl_ms = 1000};

	pthread_barrier_wait(me->start);
	for (int i = 0; i < 10; i++) {
		TS_AUTOJOB struct ts_job out;
		struct ts_error error;
		bool replayed;
		ts_job_init(&out);
		enum ts_err err = ts_store_submit(me->store, &submit, &out, &replayed, &error);
		if (err == TS_OK) {
			me->won += !replayed;
			memcpy(me->id, out.id, sizeof me->id);
		} else if (err == TS_ERR_BUSY) {
			me->refused++;
		} else {
			me->broken++;
		}
	}
	return NULL;
}

static void backlog_ceiling_holds_among_threads(void **state)
{
	struct fixture *f = *state;
	struct ts_store *second;
	struct crew crew[THREADS];
	int won = 0, refused = 0;

	ok(f->backend->open(f, &second, &f->error));
	for (int i = 0; i < THREADS; i++)
		crew[i] = (struct crew){.f = f, .store = i % 2 ? second : f->store, .max_queued = 55};
	run_crew(crew, submit_work);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(crew[i].broken, 0);
		won += crew[i].won;
		refused += crew[i].refused;
	}
	assert_int_equal(won, 55);
	assert_int_equal(refused, THREADS * 10 - 55);
	assert_int_equal(counts_of(f).jobs[TS_JOB_QUEUED], 55);
	assert_int_equal(counts_of(f).outbox, 55);
	ts_store_close(second);
}

static void one_key_is_one_job_among_threads(void **state)
{
	struct fixture *f = *state;
	struct crew crew[THREADS];
	int won = 0;

	for (int i = 0; i < THREADS; i++)
		crew[i] = (struct crew){.f = f, .store = f->store, .key = "key"};
	run_crew(crew, submit_work);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(crew[i].broken, 0);
		assert_string_equal(crew[i].id, crew[0].id);
		won += crew[i].won;
	}
	assert_int_equal(won, 1);
	assert_int_equal(counts_of(f).jobs[TS_JOB_QUEUED], 1);
}

static void *mixed_work(void *arg)
{
	struct crew *me = arg;
	struct ts_error error;

	pthread_barrier_wait(me->start);
	for (int i = 0; i < 10; i++) {
		TS_AUTOJOB struct ts_job job;
		TS_AUTOTRANSCRIPT struct ts_transcript transcript;
		struct ts_job asked = a_job();
		struct ts_submit submit = {.job = &asked};
		struct ts_store_counts counts;
		struct ts_job_filter filter = {.limit = 5};
		struct ts_job_page page;
		struct ts_lease lease;
		bool replayed;
		ts_job_init(&job);
		a_transcript(&transcript);
		if (ts_store_submit(me->store, &submit, &job, &replayed, &error) != TS_OK ||
		    ts_store_claim(me->store, job.id, "w", LEASE, &job, &lease, &error) != TS_OK ||
		    ts_store_heartbeat(me->store, &lease, LEASE, &(struct ts_progress){.fraction = 0.5}, &error) != TS_OK ||
		    ts_store_lease_check(me->store, &lease, &error) != TS_OK ||
		    ts_store_list(me->store, &filter, &page, &error) != TS_OK ||
		    ts_store_finish(me->store, &lease, &transcript, &error) != TS_OK ||
		    ts_store_counts(me->store, &counts, &error) != TS_OK) {
			fprintf(stderr, "thread %d: %s\n", me->number, error.message);
			me->broken++;
			continue;
		}
		ts_job_page_finish(&page);
		me->won++;
	}
	return NULL;
}

static void one_handle_serves_many_threads(void **state)
{
	struct fixture *f = *state;
	struct crew crew[THREADS];

	for (int i = 0; i < THREADS; i++)
		crew[i] = (struct crew){.f = f, .store = f->store};
	run_crew(crew, mixed_work);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(crew[i].won, 10);
	assert_int_equal(counts_of(f).jobs[TS_JOB_COMPLETED], THREADS * 10);
	assert_int_equal(counts_of(f).deliveries_pending, THREADS * 10);
}

// --- waiting ---

static void *wait_work(void *arg)
{
	struct crew *me = arg;
	struct ts_error error;
	uint64_t before = me->seen;

	pthread_barrier_wait(me->start);
	do
		me->err = ts_store_wait_change(me->store, &me->seen, 60000, me->stop, &error);
	while (me->err == TS_OK && me->seen == before && !(me->stop && atomic_load(me->stop)));
	return NULL;
}

struct waiters {
	struct crew crew[THREADS];
	pthread_t threads[THREADS];
	pthread_barrier_t start;
};

static void start_waiters(struct waiters *waiters, struct ts_store *store, const atomic_bool *stop)
{
	struct ts_error error;
	uint64_t seen = 0;

	assert_int_equal(ts_store_wait_change(store, &seen, 60000, NULL, &error), TS_OK); // at once
	pthread_barrier_init(&waiters->start, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++) {
		waiters->crew[i] = (struct crew){.store = store, .start = &waiters->start, .seen = seen, .stop = stop};
		assert_int_equal(pthread_create(&waiters->threads[i], NULL, wait_work, &waiters->crew[i]), 0);
	}
	pthread_barrier_wait(&waiters->start);
}

static void join_waiters(struct waiters *waiters)
{
	for (int i = 0; i < THREADS; i++) {
		pthread_join(waiters->threads[i], NULL);
		assert_int_equal(waiters->crew[i].err, TS_OK);
	}
	pthread_barrier_destroy(&waiters->start);
}

// Each of these ends only by being woken: the waits are longer than the test may run.
static void own_changes_wake_every_waiter(void **state)
{
	struct fixture *f = *state;
	struct waiters waiters;
	char id[TS_UUID_SIZE];

	start_waiters(&waiters, f->store, NULL);
	submit_id(f, id);
	join_waiters(&waiters);
}

static void wake_and_stop_end_the_wait(void **state)
{
	struct fixture *f = *state;
	struct waiters waiters;
	atomic_bool stop = false;

	start_waiters(&waiters, f->store, NULL);
	ts_store_wake(f->store);
	join_waiters(&waiters);
	start_waiters(&waiters, f->store, &stop);
	atomic_store(&stop, true); // without a wake
	join_waiters(&waiters);
}

static void quiet_wait_ends_with_its_timeout(void **state)
{
	struct fixture *f = *state;
	uint64_t seen = 0, before;

	ok(ts_store_wait_change(f->store, &seen, 60000, NULL, &f->error));
	before = seen;
	ok(ts_store_wait_change(f->store, &seen, 30, NULL, &f->error));
	assert_int_equal(seen, before);
	ok(ts_store_wait_change(f->store, &seen, 0, NULL, &f->error));
	ok(ts_store_wait_change(f->store, &seen, -5, NULL, &f->error));
	assert_int_equal(seen, before);
}

static int submit_when_told(struct fixture *f, int orders, int answers)
{
	char id[TS_UUID_SIZE];

	reopen_store(f);
	while (process_await_go(orders)) {
		submit_id(f, id);
		if (!write_all(answers, id, sizeof id))
			return 1;
	}
	return 0;
}

static void changes_of_another_process_wake(void **state)
{
	struct fixture *f = *state;
	uint64_t seen = 0;
	char id[TS_UUID_SIZE];

	close_store_of(f);
	struct process process = process_fork(f, submit_when_told);
	reopen_store(f);
	ok(ts_store_wait_change(f->store, &seen, 60000, NULL, &f->error));
	for (int round = 1; round <= 20; round++) {
		process_go(&process);
		while (counts_of(f).jobs[TS_JOB_QUEUED] < round)
			ok(ts_store_wait_change(f->store, &seen, 60000, NULL, &f->error));
		assert_true(read_all(process.from, id, sizeof id));
	}
	process_close_orders(&process);
	assert_int_equal(process_end(&process), 0);
}

// --- sudden end ---

// Submits, claims and finishes until it is killed, naming each job as soon as it was told that it is done.
static int work_until_killed(struct fixture *f, int orders, int answers)
{
	(void)orders;
	reopen_store(f);
	for (;;) {
		struct ts_lease lease;
		char id[TS_UUID_SIZE + 1];
		submit_id(f, id + 1);
		id[0] = 's';
		if (!write_all(answers, id, sizeof id))
			return 1;
		claim_id(f, id + 1, "child", &lease);
		finish_lease(f, &lease);
		id[0] = 'f';
		if (!write_all(answers, id, sizeof id))
			return 1;
	}
}

static void check_whole(struct fixture *f, const char *id, bool finished)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	struct ts_delivery_list list;
	enum ts_job_state found = state_of(f, id);

	ts_transcript_init(&transcript);
	if (finished)
		assert_int_equal(found, TS_JOB_COMPLETED);
	ok(ts_store_deliveries(f->store, id, &list, &f->error));
	if (found == TS_JOB_COMPLETED)
		ok(ts_store_transcript(f->store, id, &transcript, &f->error));
	else
		fails(TS_ERR_NOT_FOUND, ts_store_transcript(f->store, id, &transcript, &f->error));
	assert_int_equal(list.count, found == TS_JOB_COMPLETED);
	ts_delivery_list_finish(&list);
}

static void killed_process_leaves_whole_jobs(void **state)
{
	struct fixture *f = *state;

	for (int round = 0; round < 12; round++) {
		char message[TS_UUID_SIZE + 1];
		close_store_of(f);
		struct process process = process_fork(f, work_until_killed);
		for (int i = 0; i < 1 + round * 2; i++) // the kill falls on another moment each time
			assert_true(read_all(process.from, message, sizeof message));
		kill(process.pid, SIGKILL);
		reopen_store(f); // while the dead process's WAL lies there
		int said = 0;
		do { // the last read above, and what was still in the pipe
			check_whole(f, message + 1, message[0] == 'f');
			said++;
		} while (read_all(process.from, message, sizeof message));
		assert_true(said >= 1);
		assert_int_equal(process_end(&process), -SIGKILL);

		// Nothing is stuck: what it held is taken back and finished by another.
		struct ts_reaped reaped;
		struct ts_store_counts counts;
		advance(f, LEASE);
		ok(ts_store_reap(f->store, 0, &reaped, &f->error));
		counts = counts_of(f);
		assert_int_equal(counts.jobs[TS_JOB_PROCESSING], 0);
		assert_int_equal(counts.outbox, counts.jobs[TS_JOB_QUEUED]);
		assert_int_equal(counts.deliveries_pending, counts.jobs[TS_JOB_COMPLETED]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    store_test(exactly_one_claim_wins),           store_test(backlog_ceiling_holds_among_threads),
	    store_test(one_key_is_one_job_among_threads), store_test(one_handle_serves_many_threads),
	    store_test(own_changes_wake_every_waiter),    store_test(wake_and_stop_end_the_wait),
	    store_test(quiet_wait_ends_with_its_timeout), store_test(changes_of_another_process_wake),
	    store_test(killed_process_leaves_whole_jobs),
	};

	return run_store_tests(tests);
}
