// What a job costs beyond recognition: from reading the 202 to having read the whole callback. The API, the worker
// (with the null recogniser) and the client are processes of their own over one SQLite file, as in production.
// Beside it, in the same run and on the same disk, what no service of this kind can do without.
#include "loopback.h"
#include "null_engine.h"
#include "place.h"
#include "processes.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BAR_MS 50.0
#define PATIENCE_MS 30000
#define WARM_UP 5
#define PROBES 50
#define LOOK_MS 1

struct options {
	unsigned jobs;
	const char *folder;
	const char *media;
	bool check;
};

// --- the two processes of the service ---

// In memory that both sides share.
struct times {
	_Atomic int64_t begun_ns, drained_ns;
};

struct process {
	pid_t pid;
	int control; // ours: '?' asks for a struct answer, 'q' ends it
};

struct answer {
	uint16_t port;
	unsigned busy;
	uint64_t settled; // jobs whose callback has been delivered and noted
};

static void send_answer(int control, const struct answer *answer)
{
	if (send(control, answer, sizeof *answer, MSG_NOSIGNAL) != (ssize_t)sizeof *answer)
		_exit(3);
}

// The next command; 'q' when the parent is gone.
static char next_command(int control)
{
	char command;

	for (;;) {
		const ssize_t n = recv(control, &command, 1, 0);
		if (n == 1)
			return command;
		if (n == 0 || errno != EINTR)
			return 'q';
	}
}

static void run_api(struct bench_place *place, int control, struct times *times)
{
	struct ts_error error = {0};
	struct ts_api *api;

	(void)times;
	bench_place_open(place, "api");
	struct ts_api_options options = bench_api_options(place);
	bench_must(ts_api_start(&options, &api, &error), &error, "API");
	const struct answer answer = {.port = ts_api_port(api)};
	send_answer(control, &answer);
	while (next_command(control) != 'q')
		send_answer(control, &answer);
	ts_api_destroy(api);
	bench_place_close(place);
}

static void run_worker(struct bench_place *place, int control, struct times *times)
{
	struct bench_null_engine engine;
	struct ts_error error = {0};
	struct ts_worker *worker;

	bench_null_engine_init(&engine);
	engine.begun_ns = &times->begun_ns;
	engine.drained_ns = &times->drained_ns;
	bench_place_open(place, "worker");
	struct ts_worker_options options = bench_worker_options(place, &engine.asr, 2);
	bench_must(ts_worker_start(&options, &worker, &error), &error, "worker");
	do {
		struct ts_worker_stats stats;
		ts_worker_stats(worker, &stats);
		const struct answer answer = {.busy = stats.busy, .settled = stats.deliveries_ok};
		send_answer(control, &answer);
	} while (next_command(control) != 'q');
	ts_worker_destroy(worker);
	bench_place_close(place);
}

static void receive_answer(const struct process *process, struct answer *out)
{
	struct pollfd poller = {.fd = process->control, .events = POLLIN};

	if (poll(&poller, 1, PATIENCE_MS) != 1 || recv(process->control, out, sizeof *out, 0) != (ssize_t)sizeof *out)
		bench_die("a process of the service ended or does not answer");
}

// Forked while this process has neither threads nor an open database: neither may cross a fork.
static struct process start(void (*body)(struct bench_place *, int, struct times *), struct bench_place *place,
                            struct times *times, struct answer *out)
{
	const pid_t parent = getpid();
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		bench_die("cannot make a socket: %s", strerror(errno));
	const pid_t pid = fork();
	if (pid < 0)
		bench_die("cannot fork: %s", strerror(errno));
	if (pid == 0) {
		close(ends[0]);
		if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != parent)
			_exit(3);
		body(place, ends[1], times);
		exit(0);
	}
	close(ends[1]);
	const struct process process = {.pid = pid, .control = ends[0]};
	receive_answer(&process, out);
	return process;
}

static void stop(const struct process *process)
{
	int status = -1;

	if (send(process->control, "q", 1, MSG_NOSIGNAL) != 1)
		kill(process->pid, SIGKILL);
	waitpid(process->pid, &status, 0);
	close(process->control);
	if (status != 0)
		bench_die("a process of the service ended with status %d", status);
}

// --- jobs ---

struct bench {
	const struct options *options;
	struct bench_place place;
	struct times *times;
	struct process api, worker;
	int client, receiver;
	uint16_t callback_port;
	uint64_t sent;
};

struct job {
	char id[TS_UUID_SIZE];
	int64_t accepted_ns, accepted_wall_ms;
	int64_t begun_ns, drained_ns;
	int64_t called_ns;
};

static void take_id(const struct bench_message *answer, char id[TS_UUID_SIZE])
{
	json_t *root = json_loads(answer->body, 0, NULL);
	const char *value = json_string_value(json_object_get(root, "id"));

	if (!value)
		bench_die("the API answered no job: %.200s", answer->body);
	snprintf(id, TS_UUID_SIZE, "%s", value);
	json_decref(root);
}

// Submits, and waits for the callback.
static void run_job(struct bench *bench, struct job *job)
{
	static struct bench_message message;
	char body[6144], request[8192];

	snprintf(body, sizeof body,
	         "{\"video_id\": \"video-%" PRIu64 "\", \"user_id\": \"bench\", \"media_url\": \"%s\", "
	         "\"callback_url\": \"http://127.0.0.1:%u/callback\"}",
	         bench->sent, bench->place.media_url, (unsigned)bench->callback_port);
	snprintf(request, sizeof request,
	         "POST /api/v1/transcriptions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	         "Content-Length: %zu\r\n\r\n%s",
	         strlen(body), body);
	const int status = bench_client_call(bench->client, request, &message);
	job->accepted_ns = message.complete_ns;
	job->accepted_wall_ms = ts_wall_ms(ts_clock_system());
	if (status != 202)
		bench_die("the API answered %d: %.300s", status, message.body);
	take_id(&message, job->id);
	bench->sent++;
	if (!bench_receiver_next(bench->receiver, PATIENCE_MS, &message))
		bench_die("no callback came for %d ms; see %s", PATIENCE_MS, bench->place.log_path);
	job->called_ns = message.complete_ns;
	job->begun_ns = bench->times->begun_ns;
	job->drained_ns = bench->times->drained_ns;
	if (!strstr(message.body, "transcription.completed") || !strstr(message.body, job->id))
		bench_die("the callback is not that of the completed job: %.300s", message.body);
}

// Idle: nothing running, the callback noted, and the decoders' template waits with its libraries loaded.
static bool is_idle(const struct bench *bench)
{
	struct answer answer;
	pid_t decoders[8];
	size_t count;

	if (send(bench->worker.control, "?", 1, MSG_NOSIGNAL) != 1)
		bench_die("the worker is gone");
	receive_answer(&bench->worker, &answer);
	if (answer.busy > 0 || answer.settled < bench->sent)
		return false;
	count = bench_descendants(bench->worker.pid, decoders, sizeof decoders / sizeof *decoders);
	for (size_t i = 0; i < count; i++)
		if (!bench_waits_for_message(decoders[i]))
			return false;
	return count > 0;
}

static void wait_idle(const struct bench *bench)
{
	const int64_t end = bench_now_ns() + PATIENCE_MS * INT64_C(1000000);
	struct pollfd worker = {.fd = bench->worker.control, .events = POLLIN};

	// Looks again each millisecond; a worker that dies ends the wait.
	while (!is_idle(bench)) {
		if (bench_now_ns() > end)
			bench_die("the worker did not come to rest");
		if (poll(&worker, 1, LOOK_MS) != 0)
			bench_die("the worker is gone");
	}
}

enum part { PART_QUEUE, PART_OPEN, PART_DECODE, PART_FINISH, PART_DELIVER, PART_COUNT };
static const char *const part_names[PART_COUNT] = {
    "202 to claim (outbox, queue)",
    "claim to recogniser (folder, decoder, probe)",
    "recogniser (decoding while it takes)",
    "recogniser to result (its decoder's end, store)",
    "result to callback (commit, claim, HTTP)",
};

struct mode {
	const char *name;
	bool paced;
	struct bench_samples total;
	struct bench_samples parts[PART_COUNT];
};

static double since(int64_t from_ns, int64_t to_ns)
{
	return (double)(to_ns - from_ns) / 1e6;
}

static int64_t time_of(const json_t *root, const char *key)
{
	struct ts_error error = {0};
	int64_t ms = 0;
	const char *text = json_string_value(json_object_get(root, key));

	if (!text)
		bench_die("the job has no %s", key);
	bench_must(ts_time_parse(text, &ms, &error), &error, key);
	return ms;
}

// The row's own times are whole milliseconds of the wall clock, and so is what they are counted from.
static void split(struct bench *bench, const struct job *job, struct mode *mode)
{
	static struct bench_message message;
	char request[256];

	snprintf(request, sizeof request, "GET /api/v1/transcriptions/%s HTTP/1.1\r\nHost: localhost\r\n\r\n", job->id);
	if (bench_client_call(bench->client, request, &message) != 200)
		bench_die("the job cannot be read: %.300s", message.body);
	json_t *root = json_loads(message.body, 0, NULL);
	const double claim = (double)(time_of(root, "started_at") - job->accepted_wall_ms);
	const double finish = (double)(time_of(root, "finished_at") - job->accepted_wall_ms);
	json_decref(root);
	const double begun = since(job->accepted_ns, job->begun_ns), drained = since(job->accepted_ns, job->drained_ns);
	const double total = since(job->accepted_ns, job->called_ns);
	const double parts[PART_COUNT] = {claim, begun - claim, drained - begun, finish - drained, total - finish};

	bench_samples_add(&mode->total, total);
	for (size_t i = 0; i < PART_COUNT; i++)
		bench_samples_add(&mode->parts[i], parts[i]);
}

static void measure(struct bench *bench, struct mode *mode)
{
	struct job *jobs = calloc(bench->options->jobs, sizeof *jobs);
	struct job warm_up;

	if (!jobs)
		bench_die("out of memory");
	for (unsigned i = 0; i < WARM_UP; i++) {
		wait_idle(bench);
		run_job(bench, &warm_up);
	}
	wait_idle(bench);
	for (unsigned i = 0; i < bench->options->jobs; i++) {
		if (mode->paced)
			wait_idle(bench);
		run_job(bench, &jobs[i]);
	}
	wait_idle(bench);
	for (unsigned i = 0; i < bench->options->jobs; i++)
		split(bench, &jobs[i], mode);
	free(jobs);
}

// --- what it is held against ---

struct limits {
	struct bench_samples commit, round_trip, decoder;
};

static void sql(sqlite3 *database, const char *text)
{
	if (sqlite3_exec(database, text, NULL, NULL, NULL) != SQLITE_OK)
		bench_die("SQLite: %s", sqlite3_errmsg(database));
}

// One durable commit of a row of 1 KiB: what keeping a promise over a power cut costs on this disk.
static void measure_commit(const struct bench *bench, struct bench_samples *out)
{
	char path[400];
	sqlite3 *database;

	snprintf(path, sizeof path, "%s/limit.db", bench->place.root);
	if (sqlite3_open(path, &database) != SQLITE_OK)
		bench_die("SQLite: %s", sqlite3_errmsg(database));
	sql(database, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (b BLOB)");
	for (unsigned i = 0; i < PROBES; i++) {
		const int64_t from = bench_now_ns();
		sql(database, "INSERT INTO t VALUES (zeroblob(1024))");
		bench_samples_add(out, since(from, bench_now_ns()));
	}
	sqlite3_close(database);
}

static void measure_round_trip(const struct bench *bench, struct bench_samples *out)
{
	static struct bench_message message;

	for (unsigned i = 0; i < PROBES; i++) {
		const int64_t from = bench_now_ns();
		if (bench_client_call(bench->client, "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n", &message) != 200)
			bench_die("the API is not alive");
		bench_samples_add(out, since(from, message.complete_ns));
	}
}

// Decoding the same file by a decoder that is started for it.
static void measure_decoder(const struct bench *bench, struct bench_samples *out)
{
	static float samples[16000];
	const struct ts_media_options options = {.memory_bytes = 0};
	const int fd = open(bench->options->media, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		bench_die("cannot read %s: %s", bench->options->media, strerror(errno));
	for (unsigned i = 0; i < PROBES; i++) {
		struct ts_error error = {0};
		struct ts_media_info info;
		struct ts_media *media;
		size_t count;
		const int64_t from = bench_now_ns();
		bench_must(ts_media_open(fd, &options, &media, &info, &error), &error, "decoder");
		do {
			bench_must(ts_media_read(media, samples, sizeof samples / sizeof *samples, &count, &error), &error,
			           "decoder");
		} while (count > 0);
		ts_media_close(media);
		bench_samples_add(out, since(from, bench_now_ns()));
	}
	close(fd);
}

// --- the table ---

static void print_row(const char *name, struct bench_samples *samples)
{
	printf("  %-50s %8.2f %8.2f %8.2f\n", name, bench_percentile(samples, 50), bench_percentile(samples, 95),
	       bench_percentile(samples, 100));
}

static void print(const struct bench *bench, struct mode *modes, size_t mode_count, struct limits *limits)
{
	const char *name = strrchr(bench->options->media, '/');

	printf("Overhead of a job beyond recognition: %s, %u jobs a mode, ms\n", name ? name + 1 : bench->options->media,
	       bench->options->jobs);
	printf("  %-50s %8s %8s %8s\n", "", "median", "p95", "max");
	for (size_t i = 0; i < mode_count; i++) {
		char title[80];
		snprintf(title, sizeof title, "%s: 202 to callback (bar: %.0f)", modes[i].name, BAR_MS);
		print_row(title, &modes[i].total);
		for (size_t part = 0; part < PART_COUNT; part++) {
			snprintf(title, sizeof title, "  %s", part_names[part]);
			print_row(title, &modes[i].parts[part]);
		}
	}
	printf("  Held against\n");
	print_row("  one durable commit, same disk", &limits->commit);
	print_row("  one HTTP request to the API", &limits->round_trip);
	print_row("  a decoder started for this file", &limits->decoder);
	printf("  %-50s %8.2f\n", "  two commits and one request (medians)",
	       2 * bench_percentile(&limits->commit, 50) + bench_percentile(&limits->round_trip, 50));
}

// --- the program ---

static int run(struct bench *bench)
{
	struct mode modes[] = {{.name = "paced", .paced = true}, {.name = "back to back"}};
	const size_t mode_count = sizeof modes / sizeof *modes;
	struct limits limits = {0};
	struct answer answer;
	bool missed = false;

	bench->api = start(run_api, &bench->place, bench->times, &answer);
	bench->client = bench_client_connect(answer.port);
	bench->worker = start(run_worker, &bench->place, bench->times, &answer);
	bench->receiver = bench_receiver_listen(&bench->callback_port);
	for (size_t i = 0; i < mode_count; i++)
		measure(bench, &modes[i]);
	measure_commit(bench, &limits.commit);
	measure_round_trip(bench, &limits.round_trip);
	measure_decoder(bench, &limits.decoder);
	close(bench->client);
	close(bench->receiver);
	stop(&bench->worker);
	stop(&bench->api);
	print(bench, modes, mode_count, &limits);
	for (size_t i = 0; i < mode_count; i++) {
		missed = missed || bench_percentile(&modes[i].total, 50) > BAR_MS;
		bench_samples_finish(&modes[i].total);
		for (size_t part = 0; part < PART_COUNT; part++)
			bench_samples_finish(&modes[i].parts[part]);
	}
	bench_samples_finish(&limits.commit);
	bench_samples_finish(&limits.round_trip);
	bench_samples_finish(&limits.decoder);
	return missed;
}

static _Noreturn void usage(int status)
{
	fprintf(status ? stderr : stdout,
	        "Usage: bench_overhead [--jobs=N] [--dir=FOLDER] [--check] MEDIA\n"
	        "Measures from 202 to callback with a recogniser that does nothing. FOLDER is on the disk to be measured\n"
	        "(default: the current one). --check: status 1 when a median is over %.0f ms.\n",
	        BAR_MS);
	exit(status);
}

static struct options parse(int argc, char **argv)
{
	static const struct option names[] = {{"jobs", required_argument, NULL, 'j'},
	                                      {"dir", required_argument, NULL, 'd'},
	                                      {"check", no_argument, NULL, 'c'},
	                                      {"help", no_argument, NULL, 'h'},
	                                      {0}};
	struct options options = {.jobs = 100, .folder = "."};
	int name;

	while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (name) {
		case 'j': options.jobs = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'd': options.folder = optarg; break;
		case 'c': options.check = true; break;
		case 'h': usage(0);
		default: usage(2);
		}
	}
	if (optind != argc - 1 || options.jobs < 1 || options.jobs > 100000)
		usage(2);
	options.media = argv[optind];
	return options;
}

int main(int argc, char **argv)
{
	int status;

	if (ts_media_child_main(argc, argv, &status))
		return status;
	const struct options options = parse(argc, argv);
	struct bench bench = {.options = &options};
	bench.times = mmap(NULL, sizeof *bench.times, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (bench.times == MAP_FAILED)
		bench_die("no shared memory: %s", strerror(errno));
	bench_place_make(&bench.place, options.folder, options.media);
	const int missed = run(&bench);
	bench_place_remove(&bench.place);
	return missed && options.check ? 1 : 0;
}
