// base/log: lines are parsed back with jansson, whatever is put into them.
#include "unit.h"

#include "base/log.h"
#include "base/rng.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct capture {
	struct ts_clock_manual clock;
	struct ts_log_sink sink;
	struct ts_log log;
	char text[20000];
};

static void capture_begin(struct capture *capture, enum ts_log_format format)
{
	memset(capture, 0, sizeof *capture);
	ts_clock_manual_init(&capture->clock, 1000);
	capture->sink = (struct ts_log_sink){.fd = memfd_create("log", MFD_CLOEXEC),
	                                     .format = format,
	                                     .level = TS_LOG_INFO,
	                                     .component = "test",
	                                     .clock = &capture->clock.clock};
	assert_true(capture->sink.fd >= 0);
	capture->log = ts_log_to(&capture->sink);
}

static const char *capture_end(struct capture *capture)
{
	ssize_t got = pread(capture->sink.fd, capture->text, sizeof capture->text - 1, 0);
	assert_true(got >= 0);
	close(capture->sink.fd);
	return capture->text;
}

static void json_lines_carry_every_field(void **state)
{
	struct capture capture;
	(void)state;

	capture_begin(&capture, TS_LOG_JSON);
	struct ts_log log = ts_log_with(&capture.log, TS_STR("job_id", "a"));
	log = ts_log_with(&log, TS_STR("job_id", "b"));
	ts_log_info(&log, "job \"claimed\"\n", TS_INT("attempt", -2), TS_NUM("rtf", 0.25), TS_NUM("nan", (double)NAN),
	            TS_BOOL("ok", 1), TS_STR("none", NULL), TS_STR("text", "tab\t\x01 \xff é"));
	json_t *line = json_loads(capture_end(&capture), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(line);
	assert_string_equal(json_string_value(json_object_get(line, "time")), "1970-01-01T00:00:01.000Z");
	assert_string_equal(json_string_value(json_object_get(line, "level")), "info");
	assert_string_equal(json_string_value(json_object_get(line, "component")), "test");
	assert_string_equal(json_string_value(json_object_get(line, "message")), "job \"claimed\"\n");
	assert_string_equal(json_string_value(json_object_get(line, "job_id")), "b");
	assert_int_equal(json_integer_value(json_object_get(line, "attempt")), -2);
	assert_true(json_real_value(json_object_get(line, "rtf")) > 0.249);
	assert_true(json_is_null(json_object_get(line, "nan")));
	assert_true(json_is_true(json_object_get(line, "ok")));
	assert_true(json_is_null(json_object_get(line, "none")));
	assert_string_equal(json_string_value(json_object_get(line, "text")), "tab\t\x01 \xef\xbf\xbd é");
	json_decref(line);
}

static void long_values_are_kept_or_cut_not_lost(void **state)
{
	struct capture capture;
	char url[2001];
	(void)state;

	memset(url, 'u', sizeof url - 1);
	url[sizeof url - 1] = '\0';
	capture_begin(&capture, TS_LOG_JSON);
	ts_log_info(&capture.log, "fetch", TS_STR("url", url));
	json_t *line = json_loads(capture_end(&capture), 0, NULL);
	assert_non_null(line);
	assert_string_equal(json_string_value(json_object_get(line, "url")), url);
	json_decref(line);
}

// Whatever the message and the fields are, the line is one line of JSON.
static void hostile_lines_stay_json(void **state)
{
	struct ts_rng rng = ts_rng_seeded(4711);
	static char message[6001], value[6001];
	(void)state;

	for (int round = 0; round < 400; round++) {
		size_t lengths[2];
		for (int which = 0; which < 2; which++) {
			char *text = which ? value : message;
			lengths[which] = ts_rng_u64(&rng) % 6000;
			uint64_t kind = ts_rng_u64(&rng) % 3;
			for (size_t i = 0; i < lengths[which]; i++) {
				unsigned char byte = (unsigned char)(ts_rng_u64(&rng) % 255 + 1);
				text[i] = (char)(kind == 0 ? byte : kind == 1 ? byte % 31 + 1 : 'a');
			}
			text[lengths[which]] = '\0';
		}
		struct capture capture;
		capture_begin(&capture, TS_LOG_JSON);
		ts_log_warn(&capture.log, message, TS_STR("a", value), TS_STR("b", value), TS_STR("c", value),
		            TS_STR("d", value), TS_STR("e", value), TS_INT("n", round));
		const char *text = capture_end(&capture);
		json_error_t error;
		json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, &error);
		if (!line)
			fail_msg("round %d: %s at %d: ...%s", round, error.text, error.position, text + strlen(text) - 40);
		assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
		json_decref(line);
	}
}

static void text_lines_are_readable(void **state)
{
	struct capture capture;
	(void)state;

	capture_begin(&capture, TS_LOG_TEXT);
	ts_log_error(&capture.log, "it broke", TS_STR("why", "no such file"), TS_STR("empty", ""), TS_STR("plain", "x"),
	             TS_STR("escape", "\x1b[2J\xc2\x9b"));
	assert_string_equal(capture_end(&capture), "00:00:01.000 error test   it broke  why=\"no such file\"  empty=\"\"  "
	                                           "plain=x  escape=\\u001b[2J\\u009b\n");
}

static void quiet_loggers_write_nothing(void **state)
{
	struct capture capture;
	struct ts_log silent = {0};
	(void)state;

	capture_begin(&capture, TS_LOG_TEXT);
	ts_log_debug(&capture.log, "too detailed");
	ts_log_error(&silent, "no sink");
	ts_log_error((const struct ts_log *)NULL, "no logger");
	assert_string_equal(capture_end(&capture), "");
}

static void the_context_is_bounded(void **state)
{
	static const char *const keys[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
	struct capture capture;
	(void)state;

	capture_begin(&capture, TS_LOG_TEXT);
	struct ts_log log = capture.log;
	for (int i = 0; i < 8; i++)
		log = ts_log_with(&log, TS_INT(keys[i], i));
	ts_log_info(&log, "m");
	assert_string_equal(capture_end(&capture), "00:00:01.000 info  test   m  a=0  b=1  c=2  d=3  e=4  f=5\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(json_lines_carry_every_field), cmocka_unit_test(long_values_are_kept_or_cut_not_lost),
	    cmocka_unit_test(hostile_lines_stay_json),      cmocka_unit_test(text_lines_are_readable),
	    cmocka_unit_test(quiet_loggers_write_nothing),  cmocka_unit_test(the_context_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
