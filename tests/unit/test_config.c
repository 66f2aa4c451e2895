// config: the table itself, each source and their order, each type's bounds, what messages say and hide, and the
// texts made from the table, of which docs/configuration.md is one.
#include "unit.h"

#include "base/mem.h"
#include "config/config.h"
#include "fault.h"

#include <stdlib.h>
#include <unistd.h>

#define CEILING ((size_t)1 << 20)

static const struct {
	const char *name, *fallback, *group, *help;
	bool secret;
} rows[] = {
#define TS_CONFIG(type, field, row_name, row_default, min, max, unit, is_secret, row_group, row_help) \
	{row_name, row_default, row_group, row_help, (is_secret) != 0},
#include "config/config.def"
#undef TS_CONFIG
};

// A file in the temporary folder with this content; removed by drop_file.
static char *make_file(const char *content, size_t length)
{
	char *path = ts_strdup("/tmp/ts-config-XXXXXX");
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, length), length);
	close(fd);
	return path;
}

static void drop_file(char **path)
{
	if (*path)
		unlink(*path);
	ts_free(*path);
}
#define AUTOFILE TS_CLEANUP(drop_file)

static char *text_file(const char *content)
{
	return make_file(content, strlen(content));
}

// Loads from one environment entry and one override, either NULL.
static enum ts_err load(const char *environment, const char *override, struct ts_config *config, struct ts_error *error)
{
	char entry[8192];
	char *entries[] = {entry, NULL};
	const char *const overrides[] = {override};

	snprintf(entry, sizeof entry, "%s", environment ? environment : "");
	struct ts_config_sources sources = {
	    .environment = environment ? entries : NULL, .overrides = overrides, .override_count = override ? 1 : 0};
	return ts_config_load(&sources, config, error);
}

static enum ts_err load_file(const char *path, struct ts_config *config, struct ts_error *error)
{
	struct ts_config_sources sources = {.file = path};
	return ts_config_load(&sources, config, error);
}

static void the_table_is_sound(void **state)
{
	(void)state;
	assert_int_equal(sizeof rows / sizeof rows[0], TS_CONFIG_COUNT);
	for (size_t i = 0; i < TS_CONFIG_COUNT; i++) {
		assert_string_equal(ts_config_name((enum ts_config_id)i), rows[i].name);
		assert_int_equal(strspn(rows[i].name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"), strlen(rows[i].name));
		assert_true(rows[i].help[0] && rows[i].group[0]);
		// A table cell and a comment hold it, so it has neither bar nor line end.
		assert_null(strpbrk(rows[i].help, "|\n"));
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(rows[i].name, rows[k].name);
	}
}

static void defaults_stand_alone(void **state)
{
	TS_AUTOCONFIG struct ts_config config;
	struct ts_error error;
	(void)state;

	ts_config_init(&config);
	assert_ok(load(NULL, NULL, &config, &error), &error);
	assert_int_equal(config.environment, TS_ENVIRONMENT_DEVELOPMENT);
	assert_int_equal(config.log_level, TS_CONFIG_LOG_INFO);
	assert_int_equal(config.port, 8000);
	assert_string_equal(config.host, "0.0.0.0");
	assert_string_equal(config.service_api_key, "");
	assert_int_equal(config.max_upload_bytes, 4096LL * 1048576);
	assert_int_equal(config.lease_ms, 60000);
	assert_int_equal(config.transcription_timeout_ms, 14400000);
	assert_true(config.vad_enabled);
	assert_false(config.engine_fallback);
	assert_int_equal(config.engine, TS_ENGINE_AUTO);
	assert_string_equal(config.openai_base_url, "https://api.openai.com/v1");
	for (size_t i = 0; i < TS_CONFIG_COUNT; i++)
		assert_int_equal(config.source[i], TS_CONFIG_FROM_DEFAULT);
	assert_ok(ts_config_check(&config, &error), &error);
	ts_config_finish(NULL);
}

// The same value in all four sources; they are taken away one after the other.
static void later_sources_win(void **state)
{
	TS_AUTOCONFIG struct ts_config config;
	AUTOFILE char *path = text_file("PORT=2\n");
	char variable[128];
	char port[] = "PORT=3";
	char *environment[] = {port, variable, NULL};
	const char *overrides[] = {"--port=4", "PORT=5"};
	struct ts_config_sources sources = {.environment = environment, .overrides = overrides, .override_count = 2};
	struct ts_error error;
	(void)state;

	snprintf(variable, sizeof variable, "CONFIG_FILE=%s", path);
	ts_config_init(&config);
	assert_ok(ts_config_load(&sources, &config, &error), &error);
	assert_int_equal(config.port, 5);
	assert_int_equal(config.source[TS_CONFIG_ID_port], TS_CONFIG_FROM_COMMAND_LINE);
	sources.override_count = 1;
	assert_ok(ts_config_load(&sources, &config, &error), &error);
	assert_int_equal(config.port, 4);
	sources.override_count = 0;
	assert_ok(ts_config_load(&sources, &config, &error), &error);
	assert_int_equal(config.port, 3);
	assert_int_equal(config.source[TS_CONFIG_ID_port], TS_CONFIG_FROM_ENVIRONMENT);
	port[5] = '\0'; // "PORT=" counts as not set
	assert_ok(ts_config_load(&sources, &config, &error), &error);
	assert_int_equal(config.port, 2);
	assert_int_equal(config.source[TS_CONFIG_ID_port], TS_CONFIG_FROM_FILE);
	overrides[0] = "--port="; // asks for the default
	sources.override_count = 1;
	assert_ok(ts_config_load(&sources, &config, &error), &error);
	assert_int_equal(config.port, 8000);
}

static void values_of_each_type(void **state)
{
	static const char *const good[] = {"PORT=0",
	                                   "PORT=65535",
	                                   "ENVIRONMENT=production",
	                                   "ENVIRONMENT=Production",
	                                   "LOG_LEVEL=WARN",
	                                   "VAD_ENABLED=off",
	                                   "VAD_ENABLED=1",
	                                   "VAD_ENABLED=No",
	                                   "LEASE_SECONDS=0.5e1",
	                                   "LEASE_SECONDS=2.25",
	                                   "MAX_UPLOAD_MB=1",
	                                   "SERVICE_API_KEY=a,b,c",
	                                   "PUBLIC_URL=https://a.example:8443/base",
	                                   "PUBLIC_URL=http://[::1]:80",
	                                   "MEDIA_URL_TEMPLATE=http://m/{video_id}/{video_id}.mp4?x={video_id}",
	                                   "MEDIA_URL_TEMPLATE=file:///m/{video_id}",
	                                   "DATABASE_URL=sqlite:/var/lib/x.db",
	                                   "DATABASE_URL=sqlite:x.db",
	                                   "DATABASE_URL=postgresql://me:pw@h:5432/d?sslmode=require",
	                                   "DATABASE_URL=postgres://h/d",
	                                   "POSTGRES_SSLMODE=verify-full",
	                                   "CALLBACK_RETRY_SCHEDULE=0",
	                                   "CALLBACK_RETRY_SCHEDULE=0,0.5,604800",
	                                   "TEMP_DIR=/a b/\xc3\xa9",
	                                   "HOST=::"};
	static const char *const bad[] = {"PORT=65536",
	                                  "PORT=-1",
	                                  "PORT=80x",
	                                  "PORT= 80",
	                                  "PORT=8e3",
	                                  "ENVIRONMENT=prod",
	                                  "ENVIRONMENT=development|production",
	                                  "LOG_LEVEL=trace",
	                                  "VAD_ENABLED=maybe",
	                                  "VAD_ENABLED=2",
	                                  "LEASE_SECONDS=0.999",
	                                  "LEASE_SECONDS=3600.1",
	                                  "LEASE_SECONDS=60s",
	                                  "LEASE_SECONDS=nan",
	                                  "MAX_UPLOAD_MB=0",
	                                  "MAX_UPLOAD_MB=1.5",
	                                  "MAX_UPLOAD_MB=1048577",
	                                  "SERVICE_API_KEY=,",
	                                  "SERVICE_API_KEY=a,,b",
	                                  "SERVICE_API_KEY=a, b",
	                                  "SERVICE_API_KEY=\xc3\xa9",
	                                  "PUBLIC_URL=example.com",
	                                  "PUBLIC_URL=ftp://x",
	                                  "PUBLIC_URL=http://",
	                                  "PUBLIC_URL=http:///x",
	                                  "PUBLIC_URL=http://:80",
	                                  "PUBLIC_URL=http://u:p@x",
	                                  "PUBLIC_URL=http://x?y",
	                                  "PUBLIC_URL=http://x#y",
	                                  "PUBLIC_URL=http://x y",
	                                  "MEDIA_URL_TEMPLATE=http://m/x",
	                                  "MEDIA_URL_TEMPLATE={video_id}",
	                                  "MEDIA_URL_TEMPLATE=http://m/{video_id}/{user_id}",
	                                  "MEDIA_URL_TEMPLATE=http://m/{{video_id}}",
	                                  "MEDIA_URL_TEMPLATE=gopher://{video_id}",
	                                  "DATABASE_URL=postgresql://",
	                                  "DATABASE_URL=postgresql://h/d?user=a&password=b",
	                                  "DATABASE_URL=postgresql://h /d",
	                                  "DATABASE_URL=mysql://h/d",
	                                  "POSTGRES_PORT=0",
	                                  "POSTGRES_SSLMODE=maybe",
	                                  "POSTGRES_POOL_SIZE=0",
	                                  "DATABASE_URL=sqlite:",
	                                  "DATABASE_URL=sqlite:///x",
	                                  "DATABASE_URL=sqlite::memory:",
	                                  "DATABASE_URL=/x.db",
	                                  "CALLBACK_RETRY_SCHEDULE=,",
	                                  "CALLBACK_RETRY_SCHEDULE=1,",
	                                  "CALLBACK_RETRY_SCHEDULE=1,,2",
	                                  "CALLBACK_RETRY_SCHEDULE=-1",
	                                  "CALLBACK_RETRY_SCHEDULE=604801",
	                                  "CALLBACK_RETRY_SCHEDULE=1 2",
	                                  "TEMP_DIR=a\nb",
	                                  "TEMP_DIR=\xff",
	                                  "HOST=\x1b[2J",
	                                  "MAX_SEGMENT_DURATION=9.9",
	                                  "MAX_SEGMENT_DURATION=1501"};
	TS_AUTOCONFIG struct ts_config config;
	struct ts_error error;
	char name[64];
	(void)state;

	ts_config_init(&config);
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_ok(load(good[i], NULL, &config, &error), &error);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		if (load(bad[i], NULL, &config, &error) != TS_ERR_INVALID)
			fail_msg("accepted: %s", bad[i]);
		snprintf(name, sizeof name, "%.*s", (int)strcspn(bad[i], "="), bad[i]);
		assert_string_equal(error.field, name);
		assert_true(strncmp(error.message, name, strlen(name)) == 0);
		assert_contains(error.message, "(environment): must be ");
	}
	assert_ok(load("LEASE_SECONDS=2.25", "--max-upload-mb=3", &config, &error), &error);
	assert_int_equal(config.lease_ms, 2250);
	assert_int_equal(config.max_upload_bytes, 3145728);
	assert_ok(load("PUBLIC_URL=https://a.example/x//", NULL, &config, &error), &error);
	assert_string_equal(config.public_url, "https://a.example/x");
}

static void messages_say_what_where_and_what_else(void **state)
{
	TS_AUTOCONFIG struct ts_config config;
	AUTOFILE char *path = text_file("# comment\n\nLOG_LEVEL=loud\n");
	struct ts_error error;
	char expected[300];
	(void)state;

	ts_config_init(&config);
	assert_err(load("PORT=abc", NULL, &config, &error), TS_ERR_INVALID);
	assert_string_equal(error.message, "PORT=abc (environment): must be a whole number from 0 to 65535");
	assert_err(load(NULL, "--lease-seconds=0", &config, &error), TS_ERR_INVALID);
	assert_string_equal(error.message, "LEASE_SECONDS=0 (command line): must be a number of seconds from 1 to 3600");
	assert_err(load_file(path, &config, &error), TS_ERR_INVALID);
	snprintf(expected, sizeof expected, "LOG_LEVEL=loud (line 3 of %s): must be debug, info, warn or error", path);
	assert_string_equal(error.message, expected);
	assert_null(config.host); // written only on success
}

static void messages_hide_secrets(void **state)
{
	TS_AUTOCONFIG struct ts_config config;
	struct ts_error error;
	(void)state;

	ts_config_init(&config);
	assert_err(load("SERVICE_API_KEY=hunter2 x", NULL, &config, &error), TS_ERR_INVALID);
	assert_null(strstr(error.message, "hunter2"));
	assert_err(load("DATABASE_URL=mysql://me:hunter2@h/d", NULL, &config, &error), TS_ERR_INVALID);
	assert_null(strstr(error.message, "hunter2"));
	assert_contains(error.message, "sqlite:PATH");
	assert_err(load(NULL, "--public-url=http://me:hunter2@h", &config, &error), TS_ERR_INVALID);
	assert_null(strstr(error.message, "hunter2"));
}

static void values_come_from_files(void **state)
{
	TS_AUTOCONFIG struct ts_config config;
	AUTOFILE char *path = text_file("  top-secret \r\n\n");
	AUTOFILE char *two_lines = text_file("a\nb");
	AUTOFILE char *nul = make_file("a\0b", 3);
	AUTOFILE char *empty = text_file("");
	struct ts_error error;
	char text[200];
	(void)state;

	ts_config_init(&config);
	snprintf(text, sizeof text, "SERVICE_API_KEY_FILE=%s", path);
	assert_ok(load(text, NULL, &config, &error), &error);
	assert_string_equal(config.service_api_key, "top-secret");
	assert_int_equal(config.source[TS_CONFIG_ID_service_api_key], TS_CONFIG_FROM_ENVIRONMENT);
	snprintf(text, sizeof text, "--service-api-key-file=%s", path);
	assert_ok(load(NULL, text, &config, &error), &error);
	assert_string_equal(config.service_api_key, "top-secret");
	snprintf(text, sizeof text, "SERVICE_API_KEY_FILE=%s", empty);
	assert_ok(load(text, NULL, &config, &error), &error);
	assert_string_equal(config.service_api_key, "");
	snprintf(text, sizeof text, "SERVICE_API_KEY_FILE=%s", two_lines);
	assert_err(load(text, NULL, &config, &error), TS_ERR_INVALID);
	snprintf(text, sizeof text, "SERVICE_API_KEY_FILE=%s", nul);
	assert_err(load(text, NULL, &config, &error), TS_ERR_INVALID);
	assert_contains(error.message, "NUL");
	assert_err(load("SERVICE_API_KEY_FILE=/nonexistent/key", NULL, &config, &error), TS_ERR_INVALID);
	assert_string_equal(error.message,
	                    "SERVICE_API_KEY_FILE (environment): cannot open /nonexistent/key: No such file or directory");
	assert_string_equal(error.field, "SERVICE_API_KEY");
	assert_err(load("PORT_FILE=/", NULL, &config, &error), TS_ERR_INVALID);
	assert_contains(error.message, "cannot read /: Is a directory");
	assert_err(load("PORT_FILE=/dev/zero", NULL, &config, &error), TS_ERR_INVALID);
	assert_contains(error.message, "is larger than 65536 bytes");
}

static void a_name_is_given_once(void **state)
{
	char key[] = "OPENAI_API_KEY=a", file[] = "OPENAI_API_KEY_FILE=/x";
	char *environment[] = {key, file, NULL};
	struct ts_config_sources sources = {.environment = environment};
	AUTOFILE char *twice = text_file("PORT=1\nPORT=2\n");
	TS_AUTOCONFIG struct ts_config config;
	struct ts_error error;
	(void)state;

	ts_config_init(&config);
	assert_err(ts_config_load(&sources, &config, &error), TS_ERR_INVALID);
	assert_string_equal(error.message, "OPENAI_API_KEY (environment): set either it or OPENAI_API_KEY_FILE, not both");
	assert_err(load_file(twice, &config, &error), TS_ERR_INVALID);
	assert_contains(error.message, "line 2 of ");
	assert_contains(error.message, "is set twice");
}

static void the_file_has_lines(void **state)
{
	AUTOFILE char *path = text_file("# a comment\r\n"
	                                "\r\n"
	                                "  HOST = 127.0.0.1  # after a blank\r\n"
	                                "SERVICE_API_KEY=a#b\n"
	                                "WHISPER_MODEL=\"quoted # not a comment\"  # a comment\n"
	                                "TEMP_DIR='it is \"this\"'\n"
	                                "MEDIA_FILE_ROOT=\"a\" b\n"
	                                "PUBLIC_URL= # nothing\n"
	                                "PORT=81");
	TS_AUTOCONFIG struct ts_config config;
	struct ts_error error;
	(void)state;

	ts_config_init(&config);
	assert_ok(load_file(path, &config, &error), &error);
	assert_string_equal(config.host, "127.0.0.1");
	assert_string_equal(config.service_api_key, "a#b");
	assert_string_equal(config.whisper_model, "quoted # not a comment");
	assert_string_equal(config.temp_dir, "it is \"this\"");
	assert_string_equal(config.media_file_root, "\"a\" b");
	assert_string_equal(config.public_url, "");
	assert_int_equal(config.port, 81);
}

static void a_wrong_file_is_an_error(void **state)
{
	static const struct {
		const char *content, *message;
	} cases[] = {
	    {"PORT=1\nPROT=2\n", "PROT is not a configuration name"},
	    {"port=1\n", "port is not a configuration name"},
	    {"export PORT=1\n", "export PORT is not a configuration name"},
	    {"=1\n", "line 1 of"},
	    {"PORT\n", "must be NAME=value"},
	    {"CONFIG_FILE=/x\n", "CONFIG_FILE is not a configuration name"},
	    {"_FILE=/x\n", "_FILE is not a configuration name"},
	};
	TS_AUTOCONFIG struct ts_config config;
	struct ts_error error;
	(void)state;

	ts_config_init(&config);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		AUTOFILE char *path = text_file(cases[i].content);
		assert_err(load_file(path, &config, &error), TS_ERR_INVALID);
		assert_contains(error.message, cases[i].message);
	}
	assert_err(load("CONFIG_FILE=/nonexistent/file", NULL, &config, &error), TS_ERR_INVALID);
	assert_string_equal(error.message, "CONFIG_FILE: cannot open /nonexistent/file: No such file or directory");
}

static void options_are_recognised(void **state)
{
	TS_AUTOCONFIG struct ts_config config;
	struct ts_error error;
	enum ts_config_id id = TS_CONFIG_COUNT;
	bool has_value = false;
	(void)state;

	assert_true(ts_config_is_option("--max-upload-mb=5", &id, &has_value));
	assert_int_equal(id, TS_CONFIG_ID_max_upload_bytes);
	assert_true(has_value);
	assert_true(ts_config_is_option("--port", NULL, &has_value));
	assert_false(has_value);
	assert_true(ts_config_is_option("--openai-api-key-file=/x", &id, NULL));
	assert_false(ts_config_is_option("--PORT=5", NULL, NULL));
	assert_false(ts_config_is_option("--max_upload_mb=5", NULL, NULL));
	assert_false(ts_config_is_option("--portx=5", NULL, NULL));
	assert_false(ts_config_is_option("--por=5", NULL, NULL));
	assert_false(ts_config_is_option("port=5", NULL, NULL));
	assert_false(ts_config_is_option("--", NULL, NULL));
	ts_config_init(&config);
	assert_err(load(NULL, "--prot=5", &config, &error), TS_ERR_INVALID);
	assert_string_equal(error.message, "prot (command line): is not a configuration name");
	assert_err(load(NULL, "--port", &config, &error), TS_ERR_INVALID);
	assert_contains(error.message, "needs a value");
}

static void services_demand_more(void **state)
{
	TS_AUTOCONFIG struct ts_config config;
	struct ts_error error;
	(void)state;

	ts_config_init(&config);
	assert_ok(load("ENVIRONMENT=production", NULL, &config, &error), &error);
	assert_err(ts_config_check(&config, &error), TS_ERR_INVALID);
	assert_string_equal(error.field, "SERVICE_API_KEY");
	assert_ok(load("ENVIRONMENT=production", "--service-api-key=k", &config, &error), &error);
	assert_ok(ts_config_check(&config, &error), &error);
	assert_ok(load("ENGINE=openai", NULL, &config, &error), &error);
	assert_err(ts_config_check(&config, &error), TS_ERR_INVALID);
	assert_string_equal(error.field, "OPENAI_API_KEY");
	assert_ok(load("ENGINE=openai", "--openai-base-url=http://localhost:1/v1", &config, &error), &error);
	assert_ok(ts_config_check(&config, &error), &error);
	assert_ok(load("JOB_RETRY_BASE_SECONDS=301", NULL, &config, &error), &error);
	assert_err(ts_config_check(&config, &error), TS_ERR_INVALID);
}

// Takes *text over.
static void check_text(enum ts_err err, char **text, const char *expected)
{
	assert_ok(err, NULL);
	assert_string_equal(*text, expected);
	ts_free(*text);
}

static void values_follow_from_others(void **state)
{
	TS_AUTOCONFIG struct ts_config config;
	int64_t schedule[TS_CONFIG_SCHEDULE_MAX];
	struct ts_error error;
	size_t count;
	char *text = NULL;
	(void)state;

	ts_config_init(&config);
	assert_ok(load(NULL, NULL, &config, &error), &error);
	check_text(ts_config_database_path(&config, &text, NULL), &text, "./data/transcription.db");
	check_text(ts_config_temp_dir(&config, &text, NULL), &text, "./data/tmp");
	check_text(ts_config_uploads_dir(&config, &text, NULL), &text, "./data/uploads");
	check_text(ts_config_media_template(&config, &text, NULL), &text,
	           "http://video-processing-service:8000/api/v1/videos/{video_id}/media");
	ts_config_callback_schedule(&config, schedule, &count);
	assert_int_equal(count, 10);
	assert_int_equal(schedule[0], 0);
	assert_int_equal(schedule[9], 86400000);
	assert_int_equal(ts_config_heartbeat_ms(&config), 20000);
	assert_int_equal(ts_config_concurrency(&config, 0), 1);
	assert_int_equal(ts_config_concurrency(&config, 12), 12);
	assert_int_equal(ts_config_concurrency(&config, 500), 64);
	assert_false(ts_config_log_is_json(&config, true));
	assert_true(ts_config_log_is_json(&config, false));
	assert_ok(load("LOCAL_STORAGE_PATH=/srv/", "--max-concurrent-transcriptions=3", &config, &error), &error);
	check_text(ts_config_database_path(&config, &text, NULL), &text, "/srv/transcription.db");
	assert_int_equal(ts_config_concurrency(&config, 12), 3);
	assert_ok(load("DATABASE_URL=sqlite:/x/y.db", "--temp-dir=/scratch", &config, &error), &error);
	check_text(ts_config_database_path(&config, &text, NULL), &text, "/x/y.db");
	check_text(ts_config_temp_dir(&config, &text, NULL), &text, "/scratch");
	assert_ok(load("VIDEO_PROCESSING_SERVICE_URL=http://v:8001/", "--callback-retry-schedule=0.25", &config, &error),
	          &error);
	check_text(ts_config_media_template(&config, &text, NULL), &text, "http://v:8001/api/v1/videos/{video_id}/media");
	ts_config_callback_schedule(&config, schedule, &count);
	assert_int_equal(count, 1);
	assert_int_equal(schedule[0], 250);
	assert_ok(
	    load("VIDEO_PROCESSING_SERVICE_URL=http://v", "--media-url-template=http://m/{video_id}", &config, &error),
	    &error);
	check_text(ts_config_media_template(&config, &text, NULL), &text, "http://m/{video_id}");
	assert_ok(load("LOG_FORMAT=text", "--environment=production", &config, &error), &error);
	assert_false(ts_config_log_is_json(&config, false));
	assert_ok(load("LOG_FORMAT=auto", "--environment=production", &config, &error), &error);
	assert_true(ts_config_log_is_json(&config, true));
}

// What `transcription config` prints can be used as a configuration file; only secrets stay behind.
static void printed_values_load_again(void **state)
{
	const char *const overrides[] = {"--port=81",
	                                 "--temp-dir=/a # b",
	                                 "--whisper-model=\"x\"",
	                                 "--media-file-root=it's",
	                                 "--lease-seconds=2.05",
	                                 "--service-api-key=hunter2",
	                                 "--vad-enabled=no",
	                                 "--engine=pocketsphinx"};
	struct ts_config_sources sources = {.overrides = overrides, .override_count = 8};
	TS_AUTOCONFIG struct ts_config config, again;
	TS_AUTOBUF struct ts_buf buf, second;
	struct ts_error error;
	(void)state;

	ts_config_init(&config);
	ts_config_init(&again);
	ts_buf_init(&buf, CEILING);
	ts_buf_init(&second, CEILING);
	assert_ok(ts_config_load(&sources, &config, &error), &error);
	ts_config_print(&config, &buf);
	assert_contains(ts_buf_str(&buf), "PORT=81  # command line; port that the API listens on");
	assert_contains(ts_buf_str(&buf), "\nSERVICE_API_KEY=***  # command line; ");
	assert_contains(ts_buf_str(&buf), "\nOPENAI_API_KEY=  # default; ");
	assert_contains(ts_buf_str(&buf), "\nLEASE_SECONDS=2.05  # ");
	assert_null(strstr(ts_buf_str(&buf), "hunter2"));
	AUTOFILE char *path = text_file(ts_buf_str(&buf));
	assert_ok(load_file(path, &again, &error), &error);
	assert_string_equal(again.service_api_key, "***");
	assert_string_equal(again.temp_dir, "/a # b");
	// The second print differs in nothing but the source.
	memcpy(again.source, config.source, sizeof config.source);
	ts_config_print(&again, &second);
	assert_string_equal(ts_buf_str(&second), ts_buf_str(&buf));
}

static void help_and_document_have_every_row(void **state)
{
	TS_AUTOBUF struct ts_buf help, document;
	(void)state;

	ts_buf_init(&help, CEILING);
	ts_buf_init(&document, CEILING);
	ts_config_help(&help);
	ts_config_markdown(&document);
	assert_ok(ts_buf_status(&help, NULL), NULL);
	for (size_t i = 0; i < TS_CONFIG_COUNT; i++) {
		TS_AUTOFREE char *name = ts_asprintf("(%s)", rows[i].name);
		TS_AUTOFREE char *row = ts_asprintf("| `%s` |", rows[i].name);
		assert_contains(ts_buf_str(&help), name);
		assert_contains(ts_buf_str(&help), rows[i].help);
		assert_contains(ts_buf_str(&document), row);
		assert_contains(ts_buf_str(&document), rows[i].help);
		TS_AUTOFREE char *section = ts_asprintf("\n## %s\n", rows[i].group);
		const char *first = strstr(ts_buf_str(&document), section);
		assert_non_null(first);
		assert_null(strstr(first + 1, section));
	}
}

static void the_committed_document_is_this_one(void **state)
{
	const char *root = getenv("TS_SOURCE_ROOT");
	TS_AUTOBUF struct ts_buf document, committed;
	char path[4096], chunk[4096];
	size_t got;
	(void)state;

	assert_non_null(root); // meson test sets it
	ts_buf_init(&document, CEILING);
	ts_buf_init(&committed, CEILING);
	ts_config_markdown(&document);
	snprintf(path, sizeof path, "%s/docs/configuration.md", root);
	FILE *file = fopen(path, "rb");
	assert_non_null(file);
	while ((got = fread(chunk, 1, sizeof chunk, file)) > 0)
		ts_buf_add(&committed, chunk, got);
	fclose(file);
	if (strcmp(ts_buf_str(&document), ts_buf_str(&committed)) != 0)
		fail_msg("docs/configuration.md is not what config.def gives: run `transcription config --markdown`");
}

static enum ts_err load_and_print(void *ctx, struct ts_error *error)
{
	const char *const overrides[] = {"--port=81", "--service-api-key=k", "--public-url=http://x/"};
	struct ts_config_sources sources = {.file = ctx, .overrides = overrides, .override_count = 3};
	TS_AUTOCONFIG struct ts_config config;
	TS_AUTOBUF struct ts_buf buf;
	TS_AUTOFREE char *path = NULL;
	TS_AUTOFREE char *media = NULL;

	ts_config_init(&config);
	ts_buf_init(&buf, CEILING);
	TS_TRY(ts_config_load(&sources, &config, error));
	TS_TRY(ts_config_database_path(&config, &path, error));
	TS_TRY(ts_config_media_template(&config, &media, error));
	ts_config_print(&config, &buf);
	return ts_buf_status(&buf, error);
}

// The refusal itself needs memory, and has to say so when there is none.
static enum ts_err refuse(void *ctx, struct ts_error *error)
{
	const char *const overrides[] = {"--port=none"};
	struct ts_config_sources sources = {.overrides = overrides, .override_count = 1};
	TS_AUTOCONFIG struct ts_config config;

	(void)ctx;
	ts_config_init(&config);
	enum ts_err err = ts_config_load(&sources, &config, error);
	return err == TS_ERR_INVALID ? TS_OK : err;
}

static void survives_failed_allocations(void **state)
{
	AUTOFILE char *path = text_file("TEMP_DIR=/somewhere\nVIDEO_PROCESSING_SERVICE_URL=http://v\n");
	(void)state;

	ts_fault_each(load_and_print, path, 40);
	ts_fault_each(refuse, NULL, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_table_is_sound),
	    cmocka_unit_test(defaults_stand_alone),
	    cmocka_unit_test(later_sources_win),
	    cmocka_unit_test(values_of_each_type),
	    cmocka_unit_test(messages_say_what_where_and_what_else),
	    cmocka_unit_test(messages_hide_secrets),
	    cmocka_unit_test(values_come_from_files),
	    cmocka_unit_test(a_name_is_given_once),
	    cmocka_unit_test(the_file_has_lines),
	    cmocka_unit_test(a_wrong_file_is_an_error),
	    cmocka_unit_test(options_are_recognised),
	    cmocka_unit_test(services_demand_more),
	    cmocka_unit_test(values_follow_from_others),
	    cmocka_unit_test(printed_values_load_again),
	    cmocka_unit_test(help_and_document_have_every_row),
	    cmocka_unit_test(the_committed_document_is_this_one),
	    cmocka_unit_test(survives_failed_allocations),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
