// Growing byte buffer with a ceiling. Doubles its memory, never beyond ceiling + 1.
#include "base/buf.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

void ts_buf_init(struct ts_buf *buf, size_t ceiling)
{
	// Content and terminator together have to be countable.
	*buf = (struct ts_buf){.ceiling = ceiling < SIZE_MAX ? ceiling : SIZE_MAX - 1};
}

void ts_buf_finish(struct ts_buf *buf)
{
	if (!buf)
		return;
	ts_free(buf->data);
	*buf = (struct ts_buf){.ceiling = buf->ceiling};
}

void ts_buf_clear(struct ts_buf *buf)
{
	buf->length = 0;
	buf->status = TS_OK;
	if (buf->data)
		buf->data[0] = '\0';
}

// Makes room for `more` bytes and the terminator.
static bool reserve(struct ts_buf *buf, size_t more)
{
	if (buf->status != TS_OK)
		return false;
	if (more > buf->ceiling - buf->length) {
		buf->status = TS_ERR_LIMIT;
		return false;
	}
	size_t need = buf->length + more + 1;
	if (need <= buf->capacity)
		return true;
	size_t capacity = buf->capacity ? buf->capacity : 64;
	while (capacity < need)
		capacity = capacity > buf->ceiling / 2 ? buf->ceiling + 1 : capacity * 2;
	char *data = ts_realloc(buf->data, capacity, 1);
	if (!data) {
		buf->status = TS_ERR_NOMEM;
		return false;
	}
	buf->data = data;
	buf->capacity = capacity;
	return true;
}

void ts_buf_add(struct ts_buf *buf, const void *bytes, size_t length)
{
	if (!reserve(buf, length))
		return;
	if (length)
		memcpy(buf->data + buf->length, bytes, length);
	buf->length += length;
	buf->data[buf->length] = '\0';
}

void ts_buf_add_str(struct ts_buf *buf, const char *text)
{
	ts_buf_add(buf, text, strlen(text));
}

void ts_buf_add_char(struct ts_buf *buf, char c)
{
	ts_buf_add(buf, &c, 1);
}

void ts_buf_printf(struct ts_buf *buf, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length < 0) {
		if (buf->status == TS_OK)
			buf->status = TS_ERR_INVALID;
		return;
	}
	if (!reserve(buf, (size_t)length))
		return;
	va_start(args, format);
	vsnprintf(buf->data + buf->length, (size_t)length + 1, format, args);
	va_end(args);
	buf->length += (size_t)length;
}

enum ts_err ts_buf_status(const struct ts_buf *buf, struct ts_error *error)
{
	if (buf->status == TS_OK)
		return TS_OK;
	if (buf->status == TS_ERR_LIMIT)
		return ts_fail(error, TS_ERR_LIMIT, "text grew over its ceiling of %zu bytes", buf->ceiling);
	if (buf->status == TS_ERR_NOMEM)
		return ts_fail_nomem(error);
	return ts_fail(error, buf->status, "text could not be formatted");
}

enum ts_err ts_buf_take(struct ts_buf *buf, char **out_text, struct ts_error *error)
{
	TS_TRY(ts_buf_status(buf, error));
	if (!buf->data) {
		ts_buf_add(buf, "", 0);
		TS_TRY(ts_buf_status(buf, error));
	}
	*out_text = buf->data;
	*buf = (struct ts_buf){.ceiling = buf->ceiling};
	return TS_OK;
}

const char *ts_buf_str(const struct ts_buf *buf)
{
	return buf->data ? buf->data : "";
}
