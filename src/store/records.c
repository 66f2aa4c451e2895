// The store's plain values that own memory, and the opaque cursor of a page. Refuses storage.
#include "base/mem.h"
#include "store/store_ops.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ts_job_page_finish(struct ts_job_page *page)
{
	if (!page)
		return;
	for (size_t i = 0; i < page->count; i++)
		ts_job_finish(&page->jobs[i]);
	ts_free(page->jobs);
	ts_free(page->next_cursor);
	*page = (struct ts_job_page){0};
}

void ts_delivery_finish(struct ts_delivery *delivery)
{
	if (!delivery)
		return;
	ts_free(delivery->event_type);
	ts_free(delivery->url);
	ts_free(delivery->body);
	ts_free(delivery->state);
	ts_free(delivery->traceparent);
	*delivery = (struct ts_delivery){0};
}

void ts_delivery_list_finish(struct ts_delivery_list *list)
{
	if (!list)
		return;
	for (size_t i = 0; i < list->count; i++) {
		struct ts_delivery_log *item = &list->items[i];
		for (size_t j = 0; j < item->attempt_count; j++) {
			ts_free(item->attempts[j].error);
			ts_free(item->attempts[j].response);
		}
		ts_free(item->attempts);
		ts_delivery_finish(&item->delivery);
	}
	ts_free(list->items);
	*list = (struct ts_delivery_list){0};
}

void ts_upload_finish(struct ts_upload *upload)
{
	if (!upload)
		return;
	ts_free(upload->path);
	ts_free(upload->filename);
	ts_free(upload->user_id);
	*upload = (struct ts_upload){0};
}

// 16 hex digits of created_at, then the id's 32 without its hyphens.
char *ts_cursor_write(const struct ts_job *last)
{
	char digits[33];
	size_t n = 0;

	for (const char *c = last->id; *c && n < 32; c++)
		if (*c != '-')
			digits[n++] = *c;
	digits[n] = '\0';
	return ts_asprintf("%016" PRIx64 "%s", (uint64_t)last->created_at, digits);
}

enum ts_err ts_cursor_read(const char *cursor, int64_t *out_created_at, char out_id[TS_UUID_SIZE],
                           struct ts_error *error)
{
	char time[17];
	char id[TS_UUID_SIZE];

	if (!cursor) {
		*out_created_at = INT64_MAX;
		memcpy(out_id, "~", 2); // after every id
		return TS_OK;
	}
	// The first digit is the sign's: a negative time is nobody's cursor.
	if (strlen(cursor) != TS_CURSOR_LENGTH || strspn(cursor, "0123456789abcdef") != TS_CURSOR_LENGTH || cursor[0] > '7')
		return ts_fail_field(error, TS_ERR_INVALID, "cursor",
		                     "is not a cursor of this list; take next_cursor as it is");
	memcpy(time, cursor, 16);
	time[16] = '\0';
	const char *d = cursor + 16;
	snprintf(id, sizeof id, "%.8s-%.4s-%.4s-%.4s-%.12s", d, d + 8, d + 12, d + 16, d + 20);
	*out_created_at = (int64_t)strtoull(time, NULL, 16);
	memcpy(out_id, id, sizeof id);
	return TS_OK;
}
