// Laws of a job's life, held against random histories: several workers, relays, users, reapers and a clock that only
// moves when told. After each step the store is compared with a small model; after the last step everything is let run
// to its end. The seed is printed; TS_PROP_SEED repeats a run.
//
// Laws: no job is lost and none appears; a final state changes only by the user's retry; attempts never pass their
// bound; a write of a lost lease never wins; each final state reached has exactly one delivery; every queued job is
// mentioned somewhere or will be by the reaper.
#include "store_fixture.h"

#include "queue/queue_store.h"

#define JOBS_MAX 40
#define WORKERS 4
#define STEPS 400
#define ORPHAN_AFTER 20000
#define QUEUE_LEASE 5000

struct model_job {
	char id[TS_UUID_SIZE];
	bool deleted;
	bool with_callback;
	enum ts_job_state state;
	int32_t attempt, max_attempts;
	int64_t lease_expires_at, not_before;
	int holder;   // worker whose lease it is, -1: none
	int64_t life; // counts claims
	int64_t deliveries;
};

struct worker {
	bool busy;
	int job; // index in the model
	int64_t life;
	struct ts_lease lease;
};

struct world {
	struct fixture *f;
	struct ts_rng rng;
	struct ts_queue *queue;
	struct model_job jobs[JOBS_MAX];
	int count;
	struct worker workers[WORKERS];
	const char *step; // for messages
	uint64_t seed;
};

static unsigned draw(struct world *w, unsigned below)
{
	return (unsigned)(ts_rng_u64(&w->rng) % below);
}

#define law(w, condition)                                                                              \
	do {                                                                                               \
		if (!(condition))                                                                              \
			fail_msg("seed %llu, after %s: %s", (unsigned long long)(w)->seed, (w)->step, #condition); \
	} while (0)

static struct model_job *some_job(struct world *w)
{
	return w->count ? &w->jobs[draw(w, (unsigned)w->count)] : NULL;
}

static int find(struct world *w, const char *id)
{
	for (int i = 0; i < w->count; i++)
		if (strcmp(w->jobs[i].id, id) == 0)
			return i;
	return -1;
}

// The model's job became final.
static void ended(struct model_job *job, enum ts_job_state state)
{
	job->state = state;
	job->holder = -1;
	job->deliveries += job->with_callback;
}

static void submit_step(struct world *w)
{
	TS_AUTOJOB struct ts_job out;
	struct ts_job job = a_job();
	struct fixture *f = w->f;

	ts_job_init(&out);
	if (w->count == JOBS_MAX)
		return;
	w->step = "submit";
	job.priority = (enum ts_job_priority)draw(w, TS_PRIORITY_COUNT);
	job.max_attempts = 1 + (int32_t)draw(w, 3);
	if (draw(w, 4) == 0)
		job.callback_url = NULL;
	submit_job(f, &job, &out);
	struct model_job *model = &w->jobs[w->count++];
	*model = (struct model_job){.with_callback = job.callback_url != NULL,
	                            .state = TS_JOB_QUEUED,
	                            .max_attempts = job.max_attempts,
	                            .holder = -1};
	memcpy(model->id, out.id, sizeof model->id);
}

// Relays die between claim, publish and done.
static void relay_step(struct world *w)
{
	struct fixture *f = w->f;
	struct ts_outbox_item items[8];
	size_t count, published;

	w->step = "relay";
	ok(ts_store_outbox_claim(f->store, 3000, items, 1 + draw(w, 8), &count, &f->error));
	published = draw(w, 4) == 0 ? draw(w, (unsigned)count + 1) : count;
	for (size_t i = 0; i < published; i++)
		ok(ts_queue_publish(w->queue, items[i].job_id, items[i].priority, &f->error));
	if (draw(w, 5) != 0)
		ok(ts_store_outbox_done(f->store, items, published, &f->error));
}

// The store's answer to a claim, held against the model's.
static void claim(struct world *w, int number, const char *id)
{
	struct fixture *f = w->f;
	struct worker *worker = &w->workers[number];
	int index = find(w, id);
	struct model_job *job = index >= 0 ? &w->jobs[index] : NULL;
	int64_t now = now_of(f);
	TS_AUTOJOB struct ts_job out;
	struct ts_lease lease;
	char owner[16];

	ts_job_init(&out);
	snprintf(owner, sizeof owner, "w%d", number);
	enum ts_err err = ts_store_claim(f->store, id, owner, LEASE, &out, &lease, &f->error);
	bool claimable = job && !job->deleted &&
	                 ((job->state == TS_JOB_QUEUED && job->not_before <= now) ||
	                  (job->state == TS_JOB_PROCESSING && job->lease_expires_at <= now));
	if (!claimable) {
		law(w, err == TS_ERR_NOT_FOUND);
	} else if (job->attempt >= job->max_attempts) {
		law(w, err == TS_ERR_ATTEMPTS);
		ended(job, TS_JOB_FAILED);
	} else {
		law(w, err == TS_OK);
		job->state = TS_JOB_PROCESSING;
		job->attempt++;
		job->life++;
		job->holder = number;
		job->lease_expires_at = now + LEASE;
		law(w, out.attempt == job->attempt && lease.attempt == job->attempt);
		*worker = (struct worker){.busy = true, .job = index, .life = job->life, .lease = lease};
	}
}

static void receive_step(struct world *w)
{
	struct fixture *f = w->f;
	struct ts_message message;
	unsigned fate = draw(w, 8);

	w->step = "receive";
	enum ts_err err = ts_queue_receive(w->queue, 0, NULL, &message, &f->error);
	law(w, err == TS_OK || err == TS_ERR_TIMEOUT);
	if (err != TS_OK || fate == 0) // the receiver died with the message in its hand
		return;
	if (fate == 1) {
		ok(ts_queue_nack(w->queue, &message, draw(w, 2000), &f->error));
		return;
	}
	if (fate != 2) // 2: acked and died before the claim, which the design's order forbids; the reaper mends even that
		claim(w, (int)draw(w, WORKERS), message.job_id); // an old lease of that worker is forgotten: it "died"
	if (fate != 3)
		ok(ts_queue_ack(w->queue, &message, &f->error));
}

// A message that nobody sent: duplicates and strays are harmless.
static void stray_step(struct world *w)
{
	struct model_job *job = some_job(w);

	w->step = "stray claim";
	if (job)
		claim(w, (int)draw(w, WORKERS), job->id);
}

static void worker_step(struct world *w)
{
	struct fixture *f = w->f;
	struct worker *worker = &w->workers[draw(w, WORKERS)];
	struct ts_error cause = {.code = TS_ERR_ENGINE, .message = "drawn"};
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	enum ts_job_state after = TS_JOB_STATE_COUNT;
	enum ts_err err;
	int64_t retry_at = 0;

	a_transcript(&transcript);
	if (!worker->busy)
		return;
	struct model_job *job = &w->jobs[worker->job];
	bool holds = !job->deleted && job->state == TS_JOB_PROCESSING && job->life == worker->life;
	unsigned what = draw(w, 6);
	switch (what) {
	case 0:
	case 1:
		w->step = "heartbeat";
		err = ts_store_heartbeat(f->store, &worker->lease, LEASE, &(struct ts_progress){.fraction = 0.5}, &f->error);
		if (holds)
			job->lease_expires_at = now_of(f) + LEASE;
		break;
	case 2:
		w->step = "release";
		err = ts_store_release(f->store, &worker->lease, &f->error);
		if (holds) {
			job->state = TS_JOB_QUEUED;
			job->attempt--;
			job->not_before = 0;
		}
		break;
	case 3:
		w->step = "fail";
		retry_at = draw(w, 3) == 0 ? 0 : now_of(f) + draw(w, 10000);
		err = ts_store_fail(f->store, &worker->lease, &cause, retry_at, &after, &f->error);
		if (holds && retry_at > 0 && job->attempt < job->max_attempts) {
			job->state = TS_JOB_QUEUED;
			job->not_before = retry_at;
		} else if (holds) {
			ended(job, TS_JOB_FAILED);
		}
		law(w, err != TS_OK || after == job->state);
		break;
	case 4:
		w->step = "finish";
		err = ts_store_finish(f->store, &worker->lease, &transcript, &f->error);
		if (holds)
			ended(job, TS_JOB_COMPLETED);
		break;
	default:
		w->step = "lease check";
		err = ts_store_lease_check(f->store, &worker->lease, &f->error);
		break;
	}
	law(w, err == (holds ? TS_OK : TS_ERR_FENCED));
	if (what >= 2 && what <= 4 && draw(w, 3) != 0)
		worker->busy = false; // else it tries to write once more later, and must not
}

static void user_step(struct world *w)
{
	struct fixture *f = w->f;
	struct model_job *job = some_job(w);
	TS_AUTOJOB struct ts_job out;
	enum ts_err err;

	ts_job_init(&out);
	if (!job)
		return;
	bool final = ts_job_state_is_final(job->state);
	switch (draw(w, 7)) {
	case 0:
	case 1:
		w->step = "cancel";
		err = ts_store_cancel(f->store, job->id, &out, &f->error);
		law(w, err == (job->deleted ? TS_ERR_NOT_FOUND : final ? TS_ERR_CONFLICT : TS_OK));
		if (err == TS_OK)
			ended(job, TS_JOB_CANCELLED);
		break;
	case 2:
	case 3:
	case 4: {
		w->step = "retry";
		bool again = job->state == TS_JOB_FAILED || job->state == TS_JOB_CANCELLED;
		err = ts_store_retry(f->store, job->id, &out, &f->error);
		law(w, err == (job->deleted ? TS_ERR_NOT_FOUND : again ? TS_OK : TS_ERR_CONFLICT));
		if (err == TS_OK) {
			job->state = TS_JOB_QUEUED;
			job->attempt = 0;
			job->not_before = 0;
		}
		break;
	}
	case 5:
		w->step = "delete";
		err = ts_store_delete(f->store, job->id, &f->error);
		law(w, err == (job->deleted ? TS_ERR_NOT_FOUND : TS_OK));
		job->deleted = true;
		break;
	default: break;
	}
}

static void reap_step(struct world *w)
{
	struct fixture *f = w->f;
	struct ts_reaped reaped;
	int64_t requeued = 0, exhausted = 0, now = now_of(f);

	w->step = "reap";
	ok(ts_store_reap(f->store, ORPHAN_AFTER, &reaped, &f->error));
	for (int i = 0; i < w->count; i++) {
		struct model_job *job = &w->jobs[i];
		if (job->deleted || job->state != TS_JOB_PROCESSING || job->lease_expires_at > now)
			continue;
		if (job->attempt >= job->max_attempts) {
			ended(job, TS_JOB_FAILED);
			exhausted++;
		} else {
			job->state = TS_JOB_QUEUED;
			job->not_before = 0;
			requeued++;
		}
	}
	law(w, reaped.requeued == requeued);
	law(w, reaped.exhausted == exhausted);
}

static void check_job(struct world *w, const struct model_job *model)
{
	struct fixture *f = w->f;
	TS_AUTOJOB struct ts_job job;
	struct ts_delivery_list list;

	ts_job_init(&job);
	enum ts_err err = ts_store_get(f->store, model->id, &job, &f->error);
	law(w, err == (model->deleted ? TS_ERR_NOT_FOUND : TS_OK));
	if (err != TS_OK)
		return;
	law(w, job.state == model->state);
	law(w, job.attempt == model->attempt);
	law(w, job.attempt <= job.max_attempts);
	law(w, (job.lease_owner != NULL) == (job.state == TS_JOB_PROCESSING));
	ok(ts_store_deliveries(f->store, model->id, &list, &f->error));
	law(w, (int64_t)list.count == model->deliveries);
	ts_delivery_list_finish(&list);
}

// Everybody does their duty until nothing moves: all jobs end, all callbacks are known.
static void let_run(struct world *w)
{
	struct fixture *f = w->f;

	for (int round = 0; round < 100; round++) {
		struct ts_store_counts counts = counts_of(f);
		struct ts_outbox_item items[JOBS_MAX];
		struct ts_message message;
		size_t count;
		if (counts.jobs[TS_JOB_QUEUED] + counts.jobs[TS_JOB_PROCESSING] == 0)
			return;
		advance(f, ORPHAN_AFTER);
		reap_step(w);
		ok(ts_store_outbox_claim(f->store, 1000, items, JOBS_MAX, &count, &f->error));
		for (size_t i = 0; i < count; i++)
			ok(ts_queue_publish(w->queue, items[i].job_id, items[i].priority, &f->error));
		ok(ts_store_outbox_done(f->store, items, count, &f->error));
		while (ts_queue_receive(w->queue, 0, NULL, &message, &f->error) == TS_OK) {
			w->workers[0].busy = false;
			claim(w, 0, message.job_id);
			ok(ts_queue_ack(w->queue, &message, &f->error));
			if (w->workers[0].busy) {
				finish_lease(f, &w->workers[0].lease);
				ended(&w->jobs[w->workers[0].job], TS_JOB_COMPLETED);
			}
		}
	}
	w->step = "everybody did their duty";
	law(w, counts_of(f).jobs[TS_JOB_QUEUED] + counts_of(f).jobs[TS_JOB_PROCESSING] == 0);
}

static void random_histories(void **state)
{
	static void (*const steps[])(struct world *) = {submit_step,  submit_step,  relay_step,   relay_step, receive_step,
	                                                receive_step, receive_step, receive_step, stray_step, worker_step,
	                                                worker_step,  worker_step,  worker_step,  user_step,  reap_step};
	struct fixture *f = *state;
	const char *asked = getenv("TS_PROP_SEED");
	struct ts_rng system = ts_rng_system();
	struct ts_queue_store_options options = {.store = f->store, .lease_ms = QUEUE_LEASE};
	uint64_t seed = asked ? strtoull(asked, NULL, 10) : ts_rng_u64(&system) % 1000000;
	struct world *w = calloc(1, sizeof *w);

	assert_non_null(w);
	print_message("# seed %llu\n", (unsigned long long)seed);
	*w = (struct world){.f = f, .rng = ts_rng_seeded(seed), .seed = seed, .step = "nothing"};
	ok(ts_queue_store_open(&options, &w->queue, &f->error));
	for (int step = 0; step < STEPS; step++) {
		steps[draw(w, sizeof steps / sizeof steps[0])](w);
		if (draw(w, 3) == 0)
			advance(f, draw(w, 10) == 0 ? LEASE : draw(w, 3000));
		if (w->count)
			check_job(w, &w->jobs[draw(w, (unsigned)w->count)]);
	}
	for (int i = 0; i < w->count; i++)
		check_job(w, &w->jobs[i]);
	let_run(w);
	w->step = "the end";
	for (int i = 0; i < w->count; i++) {
		check_job(w, &w->jobs[i]);
		law(w, w->jobs[i].deleted || ts_job_state_is_final(w->jobs[i].state));
	}
	ts_queue_close(w->queue);
	free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    store_test(random_histories), store_test(random_histories), store_test(random_histories),
	    store_test(random_histories), store_test(random_histories), store_test(random_histories),
	};

	return run_store_tests(tests);
}
