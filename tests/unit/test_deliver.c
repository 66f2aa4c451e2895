// One try of a callback: what is sent, how answers are judged, when the next try is due; then the worker's schedule
// with a clock that stands still until told.
#include "worker/deliver.h"

#include "base/mem.h"
#include "net/webhook.h"
#include "rig.h"
#include "unit.h"

#include <stdlib.h>

#define EVENT "01890a5d-ac96-774b-bcce-b302099a8057"
#define JOB "01890a5d-ac96-774b-bcce-b302099a8058"
#define TRACE "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static const int64_t schedule[] = {0, 5000, 300000};

struct fixture {
	struct rig rig;
	struct ts_deliver_options options;
	struct ts_delivery delivery;
	char url[512], body[64], trace[64];
	atomic_bool abort;
};

static int set_up(void **state)
{
	static struct fixture fixture;

	rig_open(&fixture.rig);
	atomic_store(&fixture.abort, false);
	rig_url(&fixture.rig, "/callback", fixture.url);
	snprintf(fixture.body, sizeof fixture.body, "{\"type\":\"transcription.completed\"}");
	snprintf(fixture.trace, sizeof fixture.trace, TRACE);
	fixture.delivery = (struct ts_delivery){.number = 1,
	                                        .job_id = JOB,
	                                        .event_id = EVENT,
	                                        .url = fixture.url,
	                                        .body = fixture.body,
	                                        .traceparent = fixture.trace};
	fixture.options = (struct ts_deliver_options){
	    .secret = RIG_SECRET,
	    .guard = fixture.rig.guard,
	    .timeout_ms = 10000,
	    .schedule_ms = schedule,
	    .schedule_count = 3,
	    .max_attempts = 4,
	    .clock = &fixture.rig.clock.clock,
	    .abort = &fixture.abort,
	};
	*state = &fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	rig_close(&fixture->rig);
	return 0;
}

static void verify(const struct rig_callback *callback)
{
	struct ts_error error = {0};

	assert_ok(ts_webhook_verify(RIG_SECRET, callback->id, atoll(callback->timestamp), RIG_START_MS / 1000, 300,
	                            callback->body, strlen(callback->body), callback->signature, &error),
	          &error);
}

static void once(struct fixture *fixture, struct ts_deliver_result *result)
{
	struct ts_error error = {0};

	*result = (struct ts_deliver_result){0};
	assert_ok(ts_deliver_once(&fixture->options, &fixture->delivery, result, &error), &error);
}

static void accepted(void **state)
{
	struct fixture *fixture = *state;
	const struct rig_callback *callback = &fixture->rig.callbacks[0];
	struct ts_deliver_result result;

	once(fixture, &result);
	assert_int_equal(result.outcome, TS_DELIVERY_DONE);
	assert_int_equal(result.attempt.number, 1);
	assert_int_equal(result.attempt.status, 200);
	assert_int_equal(result.attempt.started_at, RIG_START_MS);
	assert_null(result.attempt.error);
	assert_string_equal(result.attempt.response, "thanks");
	assert_string_equal(callback->id, EVENT);
	assert_string_equal(callback->type, "application/json");
	assert_string_equal(callback->traceparent, TRACE);
	assert_contains(callback->agent, "transcription-service/");
	assert_string_equal(callback->body, fixture->body);
	verify(callback);
	ts_deliver_result_finish(&result);
}

static void unsigned_without_a_secret(void **state)
{
	struct fixture *fixture = *state;
	struct ts_deliver_result result;

	fixture->options.secret = "";
	once(fixture, &result);
	assert_int_equal(result.outcome, TS_DELIVERY_DONE);
	assert_string_equal(fixture->rig.callbacks[0].signature, "");
	ts_deliver_result_finish(&result);
}

static void gone_is_given_up(void **state)
{
	struct fixture *fixture = *state;
	struct ts_deliver_result result;

	fixture->rig.answers[0] = 410;
	once(fixture, &result);
	assert_int_equal(result.outcome, TS_DELIVERY_GIVE_UP);
	assert_int_equal(result.attempt.status, 410);
	assert_contains(result.attempt.error, "410");
	assert_string_equal(result.attempt.response, "thanks");
	ts_deliver_result_finish(&result);
}

static void failure_is_tried_again_by_the_schedule(void **state)
{
	static const int answers[] = {500, 404, 302, 400};
	struct fixture *fixture = *state;
	struct ts_deliver_result result;

	for (int made = 0; made < 3; made++) {
		int64_t least = schedule[made + 1 < 3 ? made + 1 : 2];
		fixture->delivery.attempts = made;
		fixture->rig.answers[made] = answers[made];
		fixture->rig.answer_headers = "Location: /elsewhere\r\n"; // redirects are not followed
		once(fixture, &result);
		assert_int_equal(result.outcome, TS_DELIVERY_RETRY);
		assert_int_equal(result.attempt.number, made + 1);
		assert_int_equal(result.attempt.status, answers[made]);
		assert_in_range(result.next_attempt_at - RIG_START_MS, least, least + least / 5);
		ts_deliver_result_finish(&result);
	}
	fixture->delivery.attempts = 3;
	fixture->rig.answers[3] = 500;
	once(fixture, &result);
	assert_int_equal(result.outcome, TS_DELIVERY_GIVE_UP);
	ts_deliver_result_finish(&result);
	assert_int_equal(http_server_requests(fixture->rig.server), 4);
}

static void retry_after_is_honoured_within_bounds(void **state)
{
	static const struct {
		int status;
		const char *headers;
		int64_t least, most;
	} cases[] = {
	    {503, "Retry-After: 100\r\n", 100000, 100000},
	    {429, "Retry-After: 60\r\n", 60000, 60000},
	    {503, "Retry-After: 1\r\n", 5000, 6000},                // never sooner than the schedule
	    {502, "Retry-After: 99999999\r\n", 86400000, 86400000}, // bounded by a day
	    {500, "Retry-After: 100\r\n", 5000, 6000},              // not an answer that throttles
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ts_deliver_result result;
		fixture->rig.answers[i] = cases[i].status;
		fixture->rig.answer_headers = cases[i].headers;
		once(fixture, &result);
		assert_int_equal(result.outcome, TS_DELIVERY_RETRY);
		assert_in_range(result.next_attempt_at - RIG_START_MS, cases[i].least, cases[i].most);
		ts_deliver_result_finish(&result);
	}
}

static void private_address_is_given_up(void **state)
{
	struct fixture *fixture = *state;
	struct ts_netguard *strict;
	struct ts_deliver_result result;
	struct ts_error error = {0};

	assert_ok(ts_netguard_create("", &strict, &error), &error);
	fixture->options.guard = strict;
	once(fixture, &result);
	assert_int_equal(result.outcome, TS_DELIVERY_GIVE_UP);
	assert_int_equal(result.attempt.status, 0);
	assert_non_null(result.attempt.error);
	assert_int_equal(http_server_requests(fixture->rig.server), 0);
	ts_deliver_result_finish(&result);
	ts_netguard_destroy(strict);
}

static void unreachable_is_tried_again(void **state)
{
	struct fixture *fixture = *state;
	struct ts_deliver_result result;
	char url[] = "http://127.0.0.1:1/callback";

	fixture->delivery.url = url;
	once(fixture, &result);
	assert_int_equal(result.outcome, TS_DELIVERY_RETRY);
	assert_int_equal(result.attempt.status, 0);
	assert_non_null(result.attempt.error);
	ts_deliver_result_finish(&result);
}

static void shutdown_leaves_it_due(void **state)
{
	struct fixture *fixture = *state;
	struct ts_deliver_result result;

	rig_url(&fixture->rig, "/stall", fixture->url);
	atomic_store(&fixture->abort, true);
	once(fixture, &result);
	assert_int_equal(result.outcome, TS_DELIVERY_RETRY);
	assert_int_equal(result.next_attempt_at, RIG_START_MS);
	ts_deliver_result_finish(&result);
}

// --- through the worker ---

static void retries_carry_one_event_id_and_are_logged(void **state)
{
	struct fixture *fixture = *state;
	struct rig *rig = &fixture->rig;
	struct ts_delivery_list list;
	char url[512], id[TS_UUID_SIZE];

	rig->answers[0] = 500;
	rig->answers[1] = 503;
	rig_start(rig);
	snprintf(id, sizeof id, "%s", rig_submit(rig, rig_file_url(rig, url), NULL, true));
	rig_wait_state(rig, id, TS_JOB_COMPLETED, NULL);
	rig_wait_attempts(rig, id, 1, &list);
	assert_string_equal(list.items[0].delivery.state, "pending");
	assert_in_range(list.items[0].delivery.next_attempt_at, RIG_START_MS + 5000, RIG_START_MS + 6000);
	ts_delivery_list_finish(&list);
	rig_advance(rig, 6000);
	rig_wait_attempts(rig, id, 2, &list);
	assert_int_equal(list.items[0].attempts[1].status, 503);
	ts_delivery_list_finish(&list);
	rig_advance(rig, 360000);
	rig_wait_attempts(rig, id, 3, &list);
	assert_string_equal(list.items[0].delivery.state, "delivered");
	assert_string_equal(list.items[0].delivery.event_type, "transcription.completed");
	assert_int_equal(list.count, 1);
	assert_int_equal(list.items[0].attempts[0].number, 1);
	assert_int_equal(list.items[0].attempts[0].status, 500);
	assert_string_equal(list.items[0].attempts[0].response, "thanks");
	assert_int_equal(list.items[0].attempts[2].status, 200);
	assert_int_equal(rig->callback_count, 3);
	for (int i = 0; i < 3; i++) {
		assert_string_equal(rig->callbacks[i].id, list.items[0].delivery.event_id);
		assert_string_equal(rig->callbacks[i].body, rig->callbacks[0].body);
		assert_string_equal(rig->callbacks[i].traceparent, TRACE);
	}
	verify(&rig->callbacks[0]);
	assert_contains(rig->callbacks[0].body, "hello world");
	ts_delivery_list_finish(&list);
}

static void the_last_try_gives_up(void **state)
{
	struct fixture *fixture = *state;
	struct rig *rig = &fixture->rig;
	struct ts_delivery_list list;
	struct ts_worker_stats stats;
	char url[512], id[TS_UUID_SIZE];

	for (int i = 0; i < 8; i++)
		rig->answers[i] = 500;
	rig_start(rig);
	snprintf(id, sizeof id, "%s", rig_submit(rig, rig_file_url(rig, url), NULL, true));
	for (size_t tries = 1; tries <= 4; tries++) {
		rig_wait_attempts(rig, id, tries, &list);
		if (tries < 4) {
			assert_string_equal(list.items[0].delivery.state, "pending");
			ts_delivery_list_finish(&list);
			rig_advance(rig, 400000);
		}
	}
	assert_string_equal(list.items[0].delivery.state, "failed");
	ts_delivery_list_finish(&list);
	// A redelivery that somebody asks for is made nonetheless, with the same event id.
	struct ts_error error = {0};
	rig->answers[4] = 204;
	assert_ok(ts_store_redeliver(rig->store, id, 1, &error), &error);
	rig_wait_attempts(rig, id, 5, &list);
	assert_string_equal(list.items[0].delivery.state, "delivered");
	assert_string_equal(rig->callbacks[4].id, rig->callbacks[0].id);
	ts_delivery_list_finish(&list);
	ts_worker_stop(rig->worker, 10000);
	ts_worker_stats(rig->worker, &stats);
	assert_int_equal(stats.deliveries_failed, 1);
	assert_int_equal(stats.deliveries_ok, 1);
}

static void a_slow_receiver_holds_up_nobody(void **state)
{
	struct fixture *fixture = *state;
	struct rig *rig = &fixture->rig;
	struct ts_error error = {0};
	TS_AUTOJOB struct ts_job stored;
	char media[512], stall[512], id[TS_UUID_SIZE], video[] = "v", user[] = "u";
	struct ts_job job;
	bool replayed;

	rig_file_url(rig, media);
	rig_url(rig, "/stall", stall);
	ts_job_init(&job);
	ts_job_init(&stored);
	job.video_id = video;
	job.user_id = user;
	job.media_url = media;
	job.callback_url = stall;
	job.max_attempts = 1;
	struct ts_submit submit = {.job = &job};
	assert_ok(ts_store_submit(rig->store, &submit, &stored, &replayed, &error), &error);
	rig_relay(rig);
	rig_start(rig);
	rig_wait_state(rig, stored.id, TS_JOB_COMPLETED, NULL);
	snprintf(id, sizeof id, "%s", rig_submit(rig, media, NULL, true));
	rig_wait_callbacks(rig, 1);
	rig_wait_state(rig, id, TS_JOB_COMPLETED, NULL);
}

int main(int argc, char **argv)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(accepted),
	    CASE(unsigned_without_a_secret),
	    CASE(gone_is_given_up),
	    CASE(failure_is_tried_again_by_the_schedule),
	    CASE(retry_after_is_honoured_within_bounds),
	    CASE(private_address_is_given_up),
	    CASE(unreachable_is_tried_again),
	    CASE(shutdown_leaves_it_due),
	    CASE(retries_carry_one_event_id_and_are_logged),
	    CASE(the_last_try_gives_up),
	    CASE(a_slow_receiver_holds_up_nobody),
	};
	int status;

	if (ts_media_child_main(argc, argv, &status))
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
