// transcription transcribe: files through the pipeline, without the service. Several files one after the other; a file
// that fails is named and does not stop the others.
#include "base/mem.h"
#include "bin/commands.h"
#include "bin/progress.h"
#include "bin/wiring_engine.h"
#include "core/format.h"
#include "net/http.h"
#include "worker/pipeline.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUTPUT_MAX ((size_t)1 << 30)

static const char usage[] =
    "Usage: transcription transcribe [OPTION]... FILE...\n"
    "Transcribes media files (any container and codec that FFmpeg reads) and prints the text.\n"
    "  -f, --format FORMAT     json, verbose_json, srt, vtt, txt (default) or tsv; repeat it or give a list with "
    "commas\n"
    "  -o, --output DIR        write DIR/NAME.FORMAT for each file instead of printing; made when missing. NAME is "
    "the\n"
    "                          file's name without its ending, or with it when two files differ only there; files\n"
    "                          that would still be written to one name are refused\n"
    "  -l, --language CODE     language spoken, ISO 639-1 (\"en\"); default: the engine finds out\n"
    "  -q, --quiet             no progress bar\n"
    "      --name=value        configuration, such as --engine=openai (below)\n"
    "A file that fails is named and does not stop the others; the exit code is then 1.\n";

// Set by the signal handler: the pipeline stops within a second, and a second signal ends the process.
static atomic_bool interrupted;
static volatile sig_atomic_t interrupted_by;

static void on_signal(int number)
{
	interrupted_by = number;
	atomic_store(&interrupted, true);
}

struct job {
	struct ts_program *program;
	struct ts_asr *engine;
	enum ts_format formats[TS_FORMAT_COUNT];
	size_t format_count;
	const char *folder;   // NULL: stdout
	const char *language; // NULL: detect
	bool quiet;
	const char **files;
	size_t file_count;
};

// --- arguments ---

// Whether argument i is this option; takes its value ("-f srt", "--format srt", "--format=srt", "-fsrt").
static bool option_value(const struct ts_args *args, size_t *i, const char *brief, const char *full, const char **out)
{
	const char *text = args->rest[*i];
	size_t length = strlen(full);

	*out = NULL;
	if (strncmp(text, full, length) == 0 && text[length] == '=')
		*out = text + length + 1;
	else if (strcmp(text, full) == 0 || strcmp(text, brief) == 0)
		*out = *i + 1 < args->rest_count ? args->rest[++*i] : NULL;
	else if (strncmp(text, brief, 2) == 0)
		*out = text + 2;
	else
		return false;
	return true;
}

static enum ts_err add_formats(struct job *job, const char *list, struct ts_error *error)
{
	TS_AUTOFREE char *copy = ts_strdup(list);
	char *rest = copy, *name;
	enum ts_format format;

	if (!copy)
		return ts_fail_nomem(error);
	while ((name = strsep(&rest, ",")) != NULL) {
		struct ts_error inner = {0};
		if (ts_format_parse(name, &format, &inner) != TS_OK)
			return ts_fail(error, TS_ERR_INVALID, "format '%.40s': %.200s", name, inner.message);
		bool known = false;
		for (size_t i = 0; i < job->format_count; i++)
			known = known || job->formats[i] == format;
		if (!known)
			job->formats[job->format_count++] = format;
	}
	return TS_OK;
}

static enum ts_err take_argument(struct job *job, const struct ts_args *args, size_t *i, struct ts_error *error)
{
	const char *text = args->rest[*i], *value;

	if (option_value(args, i, "-f", "--format", &value)) {
		if (value)
			return add_formats(job, value, error);
	} else if (option_value(args, i, "-o", "--output", &value)) {
		job->folder = value;
	} else if (option_value(args, i, "-l", "--language", &value)) {
		job->language = value;
	} else if (strcmp(text, "-q") == 0 || strcmp(text, "--quiet") == 0) {
		job->quiet = true;
		return TS_OK;
	} else if (text[0] == '-' && text[1] != '\0') {
		return ts_fail(error, TS_ERR_INVALID, "unknown option '%s'", text);
	} else {
		job->files[job->file_count++] = text;
		return TS_OK;
	}
	if (!value || !*value)
		return ts_fail(error, TS_ERR_INVALID, "%s needs a value", text);
	return TS_OK;
}

// --- where the output goes ---

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static size_t stem_length(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && dot != name ? (size_t)(dot - name) : strlen(name);
}

static bool stem_is_shared(const struct job *job, size_t index)
{
	const char *mine = base_name(job->files[index]);
	size_t length = stem_length(mine);

	for (size_t i = 0; i < job->file_count; i++) {
		const char *other = base_name(job->files[i]);
		if (i != index && stem_length(other) == length && strncmp(mine, other, length) == 0)
			return true;
	}
	return false;
}

// DIR/talk.srt; DIR/talk.mp4.srt when two inputs share a stem; verbose_json beside json gets a name of its own.
static char *output_path(const struct job *job, size_t index, enum ts_format format)
{
	const char *name = base_name(job->files[index]);
	size_t length = stem_is_shared(job, index) ? strlen(name) : stem_length(name);
	const char *mark = format == TS_FORMAT_VERBOSE_JSON ? ".verbose" : "";

	return ts_asprintf("%s/%.*s%s.%s", job->folder, (int)length, name, mark, ts_format_ending(format));
}

struct output {
	char *path;
	const char *file;
};

static int compare_outputs(const void *a, const void *b)
{
	return strcmp(((const struct output *)a)->path, ((const struct output *)b)->path);
}

// Nothing that one file gave may be overwritten by another's: said before any work is done.
static enum ts_err check_outputs(const struct job *job, struct ts_error *error)
{
	size_t count = 0;
	bool complete = true;
	struct output *outputs = ts_calloc(job->file_count * job->format_count, sizeof *outputs);

	for (size_t i = 0; outputs && i < job->file_count; i++) {
		for (size_t f = 0; f < job->format_count; f++) {
			outputs[count] = (struct output){output_path(job, i, job->formats[f]), job->files[i]};
			complete = complete && outputs[count].path;
			count++;
		}
	}
	enum ts_err err = outputs && complete ? TS_OK : ts_fail_nomem(error);
	if (err == TS_OK)
		qsort(outputs, count, sizeof *outputs, compare_outputs);
	for (size_t i = 1; err == TS_OK && i < count; i++) {
		if (strcmp(outputs[i - 1].path, outputs[i].path) == 0)
			err = ts_fail(error, TS_ERR_INVALID,
			              "%.150s and %.150s would both be written to %.150s: give each its own -o",
			              outputs[i - 1].file, outputs[i].file, outputs[i].path);
	}
	for (size_t i = 0; i < count; i++)
		ts_free(outputs[i].path);
	ts_free(outputs);
	return err;
}

// --- all arguments ---

static enum ts_err take_arguments(struct job *job, const struct ts_args *args, struct ts_error *error)
{
	bool options = true;

	for (size_t i = 0; i < args->rest_count; i++) {
		if (!options)
			job->files[job->file_count++] = args->rest[i];
		else if (strcmp(args->rest[i], "--") == 0)
			options = false;
		else
			TS_TRY(take_argument(job, args, &i, error));
	}
	if (!job->file_count)
		return ts_fail(error, TS_ERR_INVALID, "no file given");
	if (!job->format_count)
		job->formats[job->format_count++] = TS_FORMAT_TXT;
	if (job->format_count > 1 && !job->folder)
		return ts_fail(error, TS_ERR_INVALID, "several formats need a folder to go to: -o DIR");
	return job->folder ? check_outputs(job, error) : TS_OK;
}

// --- output ---

// Whole or not at all: written beside and renamed.
static enum ts_err write_file(const char *path, const struct ts_buf *buf, struct ts_error *error)
{
	TS_AUTOFREE char *part = ts_asprintf("%s.part", path);

	if (!part)
		return ts_fail_nomem(error);
	FILE *file = fopen(part, "we");
	if (!file)
		return ts_fail_errno(error, TS_ERR_IO, errno, "can't write %s", path);
	size_t wrote = fwrite(ts_buf_str(buf), 1, buf->length, file);
	int failed = wrote != buf->length ? errno : 0;
	if (fclose(file) != 0 && !failed)
		failed = errno;
	if (!failed && rename(part, path) != 0)
		failed = errno;
	if (!failed)
		return TS_OK;
	unlink(part);
	return ts_fail_errno(error, TS_ERR_IO, failed, "can't write %s", path);
}

static enum ts_err write_one(const struct job *job, size_t index, enum ts_format format,
                             const struct ts_transcript *transcript, struct ts_error *error)
{
	TS_AUTOBUF struct ts_buf buf;

	ts_buf_init(&buf, OUTPUT_MAX);
	TS_TRY(ts_format_write(transcript, format, &buf, error));
	if (!job->folder) {
		if (fwrite(ts_buf_str(&buf), 1, buf.length, stdout) != buf.length)
			return ts_fail_errno(error, TS_ERR_IO, errno, "can't write to standard output");
		if (buf.length && buf.data[buf.length - 1] != '\n')
			putchar('\n');
		return fflush(stdout) == 0 ? TS_OK : ts_fail_errno(error, TS_ERR_IO, errno, "can't write to standard output");
	}
	TS_AUTOFREE char *path = output_path(job, index, format);
	if (!path)
		return ts_fail_nomem(error);
	return write_file(path, &buf, error);
}

// --- a file ---

static void on_progress(void *ctx, int64_t audio_ms, int64_t duration_ms)
{
	ts_progress_show(ctx, audio_ms, duration_ms);
}

static enum ts_err open_file(const char *path, int *out_fd, struct ts_error *error)
{
	struct stat info;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "can't be opened");
	if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
		close(fd);
		return ts_fail(error, TS_ERR_INVALID, "is not a regular file");
	}
	*out_fd = fd;
	return TS_OK;
}

static enum ts_err transcribe(const struct job *job, size_t index, struct ts_transcript *out, struct ts_error *error)
{
	const struct ts_config *config = &job->program->config;
	struct ts_log log = ts_log_with(&job->program->log, TS_STR("file", job->files[index]));
	TS_CLEANUP(ts_progress_end) struct ts_progress_bar bar = {.fd = -1};
	int fd;

	TS_TRY(open_file(job->files[index], &fd, error));
	ts_progress_begin(&bar, base_name(job->files[index]), job->quiet ? -1 : STDERR_FILENO, ts_clock_system());
	struct ts_pipeline_options options = {
	    .engine = job->engine,
	    .media = {.memory_bytes = (uint64_t)config->media_memory_bytes,
	              .max_duration_ms = config->max_media_duration_ms},
	    .language = job->language,
	    .task = TS_ASR_TRANSCRIBE,
	    .vad = config->vad_enabled,
	    .abort = &interrupted,
	    .log = &log,
	    .sink = {.progress = on_progress, .ctx = &bar},
	};
	enum ts_err err = ts_pipeline_run(fd, &options, out, error);
	close(fd);
	return err;
}

static enum ts_err do_file(const struct job *job, size_t index, struct ts_error *error)
{
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;

	ts_transcript_init(&transcript);
	TS_TRY(transcribe(job, index, &transcript, error));
	transcript.receipt.attempts = 1;
	for (size_t i = 0; i < job->format_count; i++)
		TS_TRY(write_one(job, index, job->formats[i], &transcript, error));
	return TS_OK;
}

static int do_files(const struct job *job)
{
	int code = TS_EXIT_OK;

	for (size_t i = 0; i < job->file_count && !atomic_load(&interrupted); i++) {
		struct ts_error error = {0};
		if (do_file(job, i, &error) == TS_OK || atomic_load(&interrupted))
			continue;
		fprintf(stderr, "%s: %s: %s\n", job->program->name, job->files[i], error.message);
		code = TS_EXIT_FAILURE;
	}
	return code;
}

// --- the command ---

static enum ts_err prepare(struct job *job, struct ts_error *error)
{
	TS_TRY(ts_config_check_engine(&job->program->config, error));
	TS_TRY(ts_http_global_init(error));
	if (job->folder && mkdir(job->folder, 0777) != 0 && errno != EEXIST)
		return ts_fail_errno(error, TS_ERR_IO, errno, "can't make the folder %s", job->folder);
	TS_TRY(ts_wiring_engine(job->program, 1, &job->engine, error));
	return ts_asr_check(job->engine, job->language, TS_ASR_TRANSCRIBE, error);
}

static int run(struct job *job)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
	struct ts_error error = {0};

	// Routine lines would stand between the text; LOG_LEVEL brings them back.
	if (job->program->config.source[TS_CONFIG_ID_log_level] == TS_CONFIG_FROM_DEFAULT)
		job->program->sink.level = TS_LOG_WARN;
	enum ts_err err = prepare(job, &error);
	int code;
	if (err == TS_OK) {
		sigaction(SIGINT, &action, NULL);
		sigaction(SIGTERM, &action, NULL);
		code = do_files(job);
	} else {
		code = ts_program_fail(job->program, &error);
		if (err == TS_ERR_LANGUAGE)
			code = TS_EXIT_USAGE;
	}
	ts_asr_destroy(job->engine);
	return code;
}

int ts_command_transcribe(int argc, char **argv)
{
	struct ts_program program = {.name = "transcription transcribe", .component = "cli", .ready_fd = -1};
	struct job job = {.program = &program};
	TS_AUTOARGS struct ts_args args = {0};
	TS_AUTOFREE const char **files = NULL;
	struct ts_error error = {0};

	if (ts_args_parse(argc, argv, &args, &error) != TS_OK)
		return ts_program_usage(&program, "%s", error.message);
	if (args.help)
		return ts_program_help(usage);
	files = ts_calloc(args.rest_count + 1, sizeof *files);
	job.files = files;
	if (!files || take_arguments(&job, &args, &error) != TS_OK)
		return ts_program_usage(&program, "%s", files ? error.message : "memory is out");
	int code = ts_program_start(&program, &args);
	if (code == TS_EXIT_OK)
		code = run(&job);
	ts_program_finish(&program);
	if (atomic_load(&interrupted)) { // die of the signal, as the shell expects
		signal(interrupted_by, SIG_DFL);
		raise(interrupted_by);
	}
	return code;
}
