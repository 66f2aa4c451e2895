// A form's body: however it is cut into pieces, the same parts come out, and the same problem if there is one.
// The input's first line (to the first LF) is the Content-Type, the rest the body; without a LF all is body.
#include "../support/multipart_record.h"

#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t pieces[] = {1, 2, 3, 5, 17, 64, 0};
	const uint8_t *line = size ? memchr(data, '\n', size) : NULL;
	TS_AUTOBUF struct ts_buf whole;
	TS_AUTOFREE char *type =
	    line ? ts_strndup((const char *)data, (size_t)(line - data)) : ts_strdup("multipart/form-data; boundary=b");

	if (!type)
		abort();
	const uint8_t *body = line ? line + 1 : data;
	size_t length = size - (size_t)(body - data);
	ts_buf_init(&whole, size * 8 + 65536);
	record_multipart(type, body, length, length ? length : 1, &whole);
	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
		TS_AUTOBUF struct ts_buf cut;
		ts_buf_init(&cut, size * 8 + 65536);
		record_multipart(type, body, length, pieces[i], &cut);
		if (whole.length != cut.length || (whole.length && memcmp(whole.data, cut.data, whole.length) != 0))
			abort();
	}
	return 0;
}
