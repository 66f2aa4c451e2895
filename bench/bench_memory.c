// Peak memory of the worker, its decoder and the decoders' template, side by side for media of different lengths: flat
// is the aim.
// Each case is a fresh process that runs one job through the worker's own path (store, queue, decoder, recogniser).
#include "null_engine.h"
#include "place.h"
#include "processes.h"

#include "asr/engines.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define CASES_MAX 16
#define BAR_MIB 10.0
#define MODEL_DIR "/usr/share/pocketsphinx/model/en-us"
#define CASE_ARGUMENT "--run-one-case"

struct result {
	double audio_s, wall_s;
	long worker_kib, template_kib, decoder_kib;
};

// --- one case: a process of its own ---

static void submit(const struct bench_place *place, struct ts_job *out)
{
	static char video[] = "video", user[] = "bench";
	struct ts_queue *queue;
	struct ts_error error = {0};
	struct ts_job job;
	bool replayed;

	ts_job_init(&job);
	job.video_id = video;
	job.user_id = user;
	job.media_url = ts_strdup(place->media_url);
	job.max_attempts = 1;
	struct ts_submit request = {.job = &job};
	bench_must(ts_store_submit(place->store, &request, out, &replayed, &error), &error, "submit");
	ts_free(job.media_url);
	bench_must(bench_queue_open(place->store, &queue, &error), &error, "queue");
	bench_must(ts_queue_publish(queue, out->id, TS_PRIORITY_NORMAL, &error), &error, "queue");
	ts_queue_close(queue);
}

static void wait_completed(const struct bench_place *place, struct ts_job *job)
{
	struct ts_error error = {0};
	uint64_t seen = 0;
	char id[TS_UUID_SIZE];

	snprintf(id, sizeof id, "%s", job->id);
	while (!ts_job_state_is_final(job->state)) {
		const enum ts_err err = ts_store_wait_change(place->store, &seen, 60000, NULL, &error);
		if (err != TS_ERR_TIMEOUT)
			bench_must(err, &error, "store");
		bench_must(ts_store_get(place->store, id, job, &error), &error, "store");
	}
	if (job->state != TS_JOB_COMPLETED)
		bench_die("the job is %s: %s", ts_job_state_name(job->state), job->error_message ? job->error_message : "");
}

static struct ts_asr *make_engine(const char *name, struct bench_null_engine *null_engine)
{
	const struct ts_asr_pocketsphinx_options options = {.model_dir = MODEL_DIR, .slots = 1, .clock = ts_clock_system()};
	struct ts_error error = {0};
	struct ts_asr *engine;

	if (strcmp(name, "null") == 0) {
		bench_null_engine_init(null_engine);
		return &null_engine->asr;
	}
	if (strcmp(name, "pocketsphinx") != 0)
		bench_die("there is no recogniser %s; there are null and pocketsphinx", name);
	bench_must(ts_asr_pocketsphinx_create(&options, &engine, &error), &error, name);
	return engine;
}

// Of the children reaped so far: the decoders, copies of the template (one that was executed would also count what it
// was forked from), the template itself not being among them yet.
static long decoders_peak_kib(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_CHILDREN, &usage) != 0)
		bench_die("no usage of the children");
	return usage.ru_maxrss;
}

static long template_peak_kib(void)
{
	pid_t pid;

	return bench_descendants(getpid(), &pid, 1) == 1 ? bench_peak_kib(pid) : 0;
}

// Writes a struct result to standard output.
static int run_case(const char *folder, const char *engine_name, const char *media)
{
	struct bench_null_engine null_engine;
	struct bench_place place;
	struct ts_error error = {0};
	struct ts_worker *worker;
	TS_AUTOJOB struct ts_job job;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	ts_job_init(&job);
	bench_place_make(&place, folder, media);
	bench_place_open(&place, "worker");
	struct ts_asr *engine = make_engine(engine_name, &null_engine);
	struct ts_worker_options options = bench_worker_options(&place, engine, 1);
	submit(&place, &job);
	const int64_t from = bench_now_ns();
	bench_must(ts_worker_start(&options, &worker, &error), &error, "worker");
	wait_completed(&place, &job);
	const struct result result = {.wall_s = (double)(bench_now_ns() - from) / 1e9,
	                              .audio_s = (double)job.media_duration_ms / 1e3,
	                              .worker_kib = bench_peak_kib(getpid()),
	                              .template_kib = template_peak_kib(),
	                              .decoder_kib = decoders_peak_kib()};
	ts_worker_destroy(worker);
	ts_asr_destroy(engine);
	bench_place_close(&place);
	bench_place_remove(&place);
	return write(STDOUT_FILENO, &result, sizeof result) == (ssize_t)sizeof result ? 0 : 2;
}

// --- the process that starts them ---

static void measure(char *folder, char *engine, char *media, struct result *out)
{
	extern char **environ;
	char name[] = "bench_memory", argument[] = CASE_ARGUMENT;
	char *argv[] = {name, argument, folder, engine, media, NULL};
	posix_spawn_file_actions_t actions;
	int ends[2], status = -1;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) != 0 || posix_spawn_file_actions_init(&actions) != 0 ||
	    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO) != 0 ||
	    posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ) != 0)
		bench_die("cannot start a case");
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	const bool told = read(ends[0], out, sizeof *out) == (ssize_t)sizeof *out;
	close(ends[0]);
	if (waitpid(pid, &status, 0) != pid || status != 0 || !told)
		bench_die("a case ended with status %d", status);
}

// --- the table ---

static double mib(long kib)
{
	return (double)kib / 1024;
}

// How much more a case needs than the first one with its recogniser.
static double growth(char *const *engines, const struct result *results, size_t i)
{
	for (size_t first = 0; first < i; first++) {
		if (strcmp(engines[first], engines[i]) != 0)
			continue;
		const long worker = results[i].worker_kib - results[first].worker_kib;
		const long decoder = results[i].decoder_kib - results[first].decoder_kib;
		return mib(worker > decoder ? worker : decoder);
	}
	return 0;
}

static bool print(char *const *engines, const struct result *results, size_t count)
{
	bool missed = false;

	printf("Peak memory of one job, MiB resident; growth: of worker or decoder over the recogniser's first row "
	       "(bar: %.0f)\n",
	       BAR_MIB);
	printf("  %-14s %9s %9s %9s %9s %9s %9s\n", "recogniser", "audio s", "wall s", "worker", "template", "decoder",
	       "growth");
	for (size_t i = 0; i < count; i++) {
		const double more = growth(engines, results, i);
		missed = missed || more > BAR_MIB;
		printf("  %-14s %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f\n", engines[i], results[i].audio_s, results[i].wall_s,
		       mib(results[i].worker_kib), mib(results[i].template_kib), mib(results[i].decoder_kib), more);
	}
	return missed;
}

static _Noreturn void usage(int status)
{
	fprintf(status ? stderr : stdout,
	        "Usage: bench_memory [--dir=FOLDER] [--check] RECOGNISER:MEDIA...\n"
	        "Peak memory of a job of each kind. RECOGNISER: null, pocketsphinx. --check: status 1 when one needs\n"
	        "%.0f MiB more than the first with its recogniser.\n",
	        BAR_MIB);
	exit(status);
}

int main(int argc, char **argv)
{
	static const struct option names[] = {{"dir", required_argument, NULL, 'd'},
	                                      {"check", no_argument, NULL, 'c'},
	                                      {"help", no_argument, NULL, 'h'},
	                                      {0}};
	static struct result results[CASES_MAX];
	static char here[] = ".";
	char *engines[CASES_MAX];
	char *folder = here;
	bool check = false;
	int name, status;

	if (ts_media_child_main(argc, argv, &status))
		return status;
	if (argc == 5 && strcmp(argv[1], CASE_ARGUMENT) == 0)
		return run_case(argv[2], argv[3], argv[4]);
	while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (name) {
		case 'd': folder = optarg; break;
		case 'c': check = true; break;
		case 'h': usage(0);
		default: usage(2);
		}
	}
	const size_t count = (size_t)(argc - optind);
	if (count < 1 || count > CASES_MAX)
		usage(2);
	for (size_t i = 0; i < count; i++) {
		engines[i] = argv[optind + (int)i];
		char *colon = strchr(engines[i], ':');
		if (!colon)
			usage(2);
		*colon = '\0';
		measure(folder, engines[i], colon + 1, &results[i]);
	}
	const bool missed = print(engines, results, count);
	return missed && check ? 1 : 0;
}
