// A byte buffer that grows up to a ceiling given when it is made (curl's dynbuf idea).
// Sticky: after a failed append all later ones do nothing, and ts_buf_status tells which failure it was.
#ifndef TS_BASE_BUF_H
#define TS_BASE_BUF_H

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>

struct ts_buf {
	char *data; // NUL-terminated once anything was appended; owned; NULL while empty
	size_t length;
	size_t capacity;
	size_t ceiling; // bytes of content at most
	enum ts_err status;
};

void ts_buf_init(struct ts_buf *buf, size_t ceiling);
void ts_buf_finish(struct ts_buf *buf); // frees; NULL-safe; the buffer is empty afterwards
void ts_buf_clear(struct ts_buf *buf);  // forgets content and failure, keeps the memory

void ts_buf_add(struct ts_buf *buf, const void *bytes, size_t length);
void ts_buf_add_str(struct ts_buf *buf, const char *text);
void ts_buf_add_char(struct ts_buf *buf, char c);
void ts_buf_printf(struct ts_buf *buf, const char *format, ...) TS_PRINTF(2, 3);

// TS_OK, TS_ERR_NOMEM or TS_ERR_LIMIT, with a message.
enum ts_err ts_buf_status(const struct ts_buf *buf, struct ts_error *error) TS_MUST_USE;

// Hands the text over (owned by the caller, never NULL: "" when empty) and empties the buffer.
enum ts_err ts_buf_take(struct ts_buf *buf, char **out_text, struct ts_error *error) TS_MUST_USE;

// The text so far; "" when empty. Valid until the next change.
const char *ts_buf_str(const struct ts_buf *buf);

#define TS_AUTOBUF TS_CLEANUP(ts_buf_finish)

#endif
