// Contract of the store: callbacks as rows, their log, leases and redelivery.
#include "store_fixture.h"

// A completed job, whose callback is pending.
static void complete_one(struct fixture *f, char id[TS_UUID_SIZE])
{
	struct ts_lease lease;

	submit_id(f, id);
	claim_id(f, id, "w", &lease);
	finish_lease(f, &lease);
}

static void record(struct fixture *f, const struct ts_delivery *delivery, enum ts_delivery_outcome outcome,
                   int64_t next_at)
{
	char refused[] = "connection refused", body[] = "<html>";
	struct ts_delivery_attempt attempt = {.started_at = now_of(f), .duration_ms = 12};

	if (outcome == TS_DELIVERY_DONE)
		attempt.status = 204;
	else
		attempt.error = refused;
	attempt.response = body;
	ok(ts_store_delivery_record(f->store, delivery, &attempt, outcome, next_at, &f->error));
}

static void delivery_carries_the_event(void **state)
{
	struct fixture *f = *state;
	struct ts_delivery delivery = {0};
	TS_AUTOJOB struct ts_job out;
	struct ts_job job = a_job();
	char trace[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
	struct ts_lease lease;
	int64_t next_at = 1;

	fails(TS_ERR_NOT_FOUND, ts_store_delivery_claim(f->store, 1000, &delivery, &next_at, &f->error));
	assert_int_equal(next_at, 0);
	job.traceparent = trace;
	ts_job_init(&out);
	submit_job(f, &job, &out);
	claim_id(f, out.id, "w", &lease);
	finish_lease(f, &lease);
	ok(ts_store_delivery_claim(f->store, 1000, &delivery, NULL, &f->error));
	assert_int_equal(delivery.number, 1);
	assert_string_equal(delivery.job_id, out.id);
	assert_true(ts_uuid_is_valid(delivery.event_id));
	assert_string_equal(delivery.event_type, "transcription.completed");
	assert_string_equal(delivery.url, "https://receiver.example/hook");
	assert_string_equal(delivery.state, "pending");
	assert_string_equal(delivery.traceparent, trace);
	assert_int_equal(delivery.attempts, 0);
	assert_int_equal(delivery.created_at, T0);
	assert_int_equal(delivery.delivered_at, 0);
	assert_non_null(strstr(delivery.body, "\"transcription.completed\""));
	assert_non_null(strstr(delivery.body, "jumps over the lazy dog"));
	assert_non_null(strstr(delivery.body, "https://api.example/api/v1/transcriptions/"));
	assert_non_null(strstr(delivery.body, out.id));
	ts_delivery_finish(&delivery);
}

static void each_final_state_has_its_event(void **state)
{
	struct fixture *f = *state;
	struct ts_error cause = {.code = TS_ERR_MEDIA_NO_AUDIO, .message = "the file has no audio stream"};
	struct ts_delivery delivery = {0};
	enum ts_job_state after;
	TS_AUTOJOB struct ts_job job;
	struct ts_lease lease;
	char id[TS_UUID_SIZE];

	ts_job_init(&job);
	submit_id(f, id);
	claim_id(f, id, "w", &lease);
	ok(ts_store_fail(f->store, &lease, &cause, 0, &after, &f->error));
	ok(ts_store_delivery_claim(f->store, 1000, &delivery, NULL, &f->error));
	assert_string_equal(delivery.event_type, "transcription.failed");
	assert_non_null(strstr(delivery.body, "media_no_audio"));
	ts_delivery_finish(&delivery);
	ok(ts_store_retry(f->store, id, &job, &f->error));
	ok(ts_store_cancel(f->store, id, &job, &f->error));
	ok(ts_store_delivery_claim(f->store, 1000, &delivery, NULL, &f->error));
	assert_string_equal(delivery.event_type, "transcription.cancelled");
	assert_int_equal(delivery.number, 2);
	ts_delivery_finish(&delivery);
}

static void claimed_delivery_is_hidden_for_its_lease(void **state)
{
	struct fixture *f = *state;
	struct ts_delivery first = {0}, second = {0};
	char id[TS_UUID_SIZE];
	int64_t next_at;

	complete_one(f, id);
	ok(ts_store_delivery_claim(f->store, 1000, &first, NULL, &f->error));
	fails(TS_ERR_NOT_FOUND, ts_store_delivery_claim(f->store, 1000, &second, &next_at, &f->error));
	assert_int_equal(next_at, T0 + 1000); // should the sender die
	advance(f, 1000);
	ok(ts_store_delivery_claim(f->store, 1000, &second, NULL, &f->error));
	assert_string_equal(first.event_id, second.event_id);
	record(f, &second, TS_DELIVERY_DONE, 0);
	record(f, &first, TS_DELIVERY_RETRY, now_of(f) + 5); // the slow one comes late: it stays delivered
	fails(TS_ERR_NOT_FOUND, ts_store_delivery_claim(f->store, 1000, &second, &next_at, &f->error));
	assert_int_equal(next_at, 0);
	assert_int_equal(counts_of(f).deliveries_pending, 0);
	ts_delivery_finish(&first);
	ts_delivery_finish(&second);
}

static void retries_are_logged_until_delivered(void **state)
{
	struct fixture *f = *state;
	struct ts_delivery delivery = {0};
	struct ts_delivery_list list;
	char id[TS_UUID_SIZE], event[TS_UUID_SIZE] = "";
	int64_t next_at;

	complete_one(f, id);
	for (int i = 1; i <= 3; i++) {
		ok(ts_store_delivery_claim(f->store, 1000, &delivery, NULL, &f->error));
		if (i == 1)
			memcpy(event, delivery.event_id, sizeof event);
		assert_string_equal(delivery.event_id, event); // the same on every try
		assert_int_equal(delivery.attempts, i - 1);
		record(f, &delivery, i < 3 ? TS_DELIVERY_RETRY : TS_DELIVERY_DONE, now_of(f) + 5000);
		ts_delivery_finish(&delivery);
		if (i < 3) {
			advance(f, 4999);
			fails(TS_ERR_NOT_FOUND, ts_store_delivery_claim(f->store, 1000, &delivery, &next_at, &f->error));
			assert_int_equal(next_at, now_of(f) + 1);
			advance(f, 1);
		}
	}
	ok(ts_store_deliveries(f->store, id, &list, &f->error));
	assert_int_equal(list.count, 1);
	assert_string_equal(list.items[0].delivery.state, "delivered");
	assert_int_equal(list.items[0].delivery.delivered_at, now_of(f));
	assert_int_equal(list.items[0].delivery.next_attempt_at, 0);
	assert_int_equal(list.items[0].delivery.attempts, 3);
	assert_null(list.items[0].delivery.body);
	assert_int_equal(list.items[0].attempt_count, 3);
	for (int i = 0; i < 3; i++) {
		const struct ts_delivery_attempt *attempt = &list.items[0].attempts[i];
		assert_int_equal(attempt->number, i + 1);
		assert_int_equal(attempt->started_at, T0 + 5000 * i);
		assert_int_equal(attempt->duration_ms, 12);
		assert_int_equal(attempt->status, i < 2 ? 0 : 204);
		if (i < 2)
			assert_string_equal(attempt->error, "connection refused");
		else
			assert_null(attempt->error);
		assert_string_equal(attempt->response, "<html>");
	}
	ts_delivery_list_finish(&list);
}

static void given_up_delivery_can_be_sent_again(void **state)
{
	struct fixture *f = *state;
	struct ts_delivery delivery = {0};
	char id[TS_UUID_SIZE], event[TS_UUID_SIZE];

	complete_one(f, id);
	ok(ts_store_delivery_claim(f->store, 1000, &delivery, NULL, &f->error));
	memcpy(event, delivery.event_id, sizeof event);
	record(f, &delivery, TS_DELIVERY_GIVE_UP, 0);
	ts_delivery_finish(&delivery);
	assert_int_equal(counts_of(f).deliveries_failed, 1);
	fails(TS_ERR_NOT_FOUND, ts_store_delivery_claim(f->store, 1000, &delivery, NULL, &f->error));
	fails(TS_ERR_NOT_FOUND, ts_store_redeliver(f->store, id, 2, &f->error));
	assert_string_equal(f->error.field, "delivery");
	for (int i = 0; i < 2; i++) { // once given up, once delivered
		ok(ts_store_redeliver(f->store, id, 1, &f->error));
		ok(ts_store_delivery_claim(f->store, 1000, &delivery, NULL, &f->error));
		assert_string_equal(delivery.event_id, event);
		assert_int_equal(delivery.attempts, i + 1);
		record(f, &delivery, TS_DELIVERY_DONE, 0);
		ts_delivery_finish(&delivery);
	}
	assert_int_equal(counts_of(f).deliveries_failed, 0);
}

static void log_of_a_delivery_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct ts_delivery delivery = {0};
	struct ts_delivery_list list;
	char id[TS_UUID_SIZE];

	complete_one(f, id);
	for (int i = 0; i < 130; i++) {
		ok(ts_store_delivery_claim(f->store, 1000, &delivery, NULL, &f->error));
		record(f, &delivery, TS_DELIVERY_RETRY, now_of(f));
		ts_delivery_finish(&delivery);
	}
	ok(ts_store_deliveries(f->store, id, &list, &f->error));
	assert_int_equal(list.items[0].delivery.attempts, 130);
	assert_int_equal(list.items[0].attempt_count, 100);
	assert_int_equal(list.items[0].attempts[99].number, 130);
	ts_delivery_list_finish(&list);
}

static void record_of_a_deleted_job_is_not_found(void **state)
{
	struct fixture *f = *state;
	struct ts_delivery_attempt attempt = {0};
	struct ts_delivery delivery = {0};
	char id[TS_UUID_SIZE];

	complete_one(f, id);
	ok(ts_store_delivery_claim(f->store, 1000, &delivery, NULL, &f->error));
	ok(ts_store_delete(f->store, id, &f->error));
	fails(TS_ERR_NOT_FOUND, ts_store_delivery_record(f->store, &delivery, &attempt, TS_DELIVERY_DONE, 0, &f->error));
	ts_delivery_finish(&delivery);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    store_test(delivery_carries_the_event),
	    store_test(each_final_state_has_its_event),
	    store_test(claimed_delivery_is_hidden_for_its_lease),
	    store_test(retries_are_logged_until_delivered),
	    store_test(given_up_delivery_can_be_sent_again),
	    store_test(log_of_a_delivery_is_bounded),
	    store_test(record_of_a_deleted_job_is_not_found),
	};

	return run_store_tests(tests);
}
