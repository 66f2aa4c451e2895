// The parser is one automaton over bytes. A delimiter starts with CR, which cannot occur again inside it (boundaries
// have no CR), so that a broken match is plain data up to the byte that broke it and no look-back is ever needed.
#include "api/multipart.h"

#include "api/header.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <string.h>
#include <strings.h>

#define BOUNDARY_MAX 70 // RFC 2046 5.1.1

enum state {
	AT_DELIMITER, // matching "\r\n--boundary"
	AFTER_DELIMITER,
	AFTER_DASH, // one "-" of the closing "--"
	PADDING,    // spaces behind a delimiter
	PADDING_LF, // its CR was there
	IN_HEADER,
	IN_BODY,
	CLOSED // epilogue: ignored
};

struct ts_multipart {
	struct ts_multipart_sink sink;
	enum state state;
	char delimiter[4 + BOUNDARY_MAX + 1];
	size_t delimiter_length;
	size_t matched; // of the delimiter
	bool in_part;   // the delimiter being matched would end a part; otherwise it opens the body
	unsigned parts;
	char header[TS_MULTIPART_HEADER_MAX + 1]; // room for a terminator
	size_t header_length;
	struct ts_multipart_part part;
};

static enum ts_err refuse(struct ts_problem *problem, const char *field, const char *detail)
{
	return ts_problem_set(problem, TS_PROBLEM_INVALID_MULTIPART, field, "%s", detail);
}

static bool boundary_is_valid(const char *text, size_t length)
{
	static const char extra[] = "'()+_,-./:=? ";

	for (size_t i = 0; i < length; i++) {
		char c = text[i];
		bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		if (!alnum && !(c && strchr(extra, c)))
			return false;
	}
	return length >= 1 && length <= BOUNDARY_MAX && text[length - 1] != ' ';
}

enum ts_err ts_multipart_create(const char *content_type, const struct ts_multipart_sink *sink,
                                struct ts_multipart **out, struct ts_problem *problem)
{
	struct ts_header_params params;
	const char *boundary = NULL;

	if (!ts_header_parse(content_type, &params))
		return refuse(problem, "Content-Type", "the Content-Type header is malformed");
	for (size_t i = 0; i < params.count; i++) {
		if (strcasecmp(params.item[i].name, "boundary") == 0)
			boundary = params.item[i].value;
	}
	if (!boundary)
		return refuse(problem, "Content-Type", "Content-Type multipart/form-data must have a boundary");
	size_t length = strlen(boundary);
	if (!boundary_is_valid(boundary, length))
		return refuse(problem, "Content-Type", "the boundary must be 1 to 70 characters that RFC 2046 allows");
	struct ts_multipart *parser = ts_calloc(1, sizeof *parser);
	if (!parser) {
		struct ts_error error;
		ts_fail_nomem(&error);
		return ts_problem_from(problem, &error);
	}
	parser->sink = *sink;
	memcpy(parser->delimiter, "\r\n--", 4);
	memcpy(parser->delimiter + 4, boundary, length);
	parser->delimiter_length = 4 + length;
	parser->state = AT_DELIMITER;
	parser->matched = 2; // the body may begin with the delimiter's dashes
	*out = parser;
	return TS_OK;
}

void ts_multipart_destroy(struct ts_multipart *parser)
{
	ts_free(parser);
}

static enum ts_err take_disposition(struct ts_multipart *parser, const char *value, struct ts_problem *problem)
{
	struct ts_header_params params;
	struct ts_multipart_part *part = &parser->part;

	if (part->name[0])
		return refuse(problem, part->name, "a part has two Content-Disposition headers");
	if (!ts_header_parse(value, &params) || strcasecmp(params.value, "form-data") != 0)
		return refuse(problem, NULL, "each part's Content-Disposition must be form-data with a name");
	for (size_t i = 0; i < params.count; i++) {
		const char *text = params.item[i].value;
		size_t length = strlen(text);
		if (!ts_utf8_is_valid(text, length))
			return refuse(problem, part->name, "a part's Content-Disposition is not UTF-8");
		if (strcasecmp(params.item[i].name, "name") == 0) {
			if (length < 1 || length > TS_MULTIPART_NAME_MAX)
				return refuse(problem, NULL, "a part's name must be 1 to 128 bytes long");
			memcpy(part->name, text, length + 1);
		} else if (strcasecmp(params.item[i].name, "filename") == 0) {
			// Only the last component counts: some clients send whole paths of either kind.
			const char *slash = strrchr(text, '/'), *backslash = strrchr(text, '\\');
			text = slash > backslash ? slash + 1 : backslash ? backslash + 1 : text;
			length = strlen(text);
			if (length > TS_MULTIPART_FILENAME_MAX)
				return refuse(problem, part->name, "a filename must be at most 255 bytes long");
			memcpy(part->filename, text, length + 1);
			part->has_filename = true;
		}
		// filename* must not be used in form-data (RFC 7578 4.2); clients that add it send filename too.
	}
	return part->name[0] ? TS_OK : refuse(problem, NULL, "a part's Content-Disposition has no name");
}

static enum ts_err take_header(struct ts_multipart *parser, char *line, struct ts_problem *problem)
{
	char *value = strchr(line, ':');

	if (!value || value == line || strcspn(line, " \t") < (size_t)(value - line))
		return refuse(problem, parser->part.name, "a part's header line is malformed");
	*value++ = '\0';
	value += strspn(value, " \t");
	if (strcasecmp(line, "Content-Disposition") == 0)
		return take_disposition(parser, value, problem);
	if (strcasecmp(line, "Content-Type") == 0) {
		if (strlen(value) >= sizeof parser->part.type)
			return refuse(problem, parser->part.name, "a part's Content-Type is too long");
		strcpy(parser->part.type, value);
	} else if (strcasecmp(line, "Content-Transfer-Encoding") == 0 && strcasecmp(value, "binary") != 0 &&
	           strcasecmp(value, "8bit") != 0 && strcasecmp(value, "7bit") != 0) {
		return refuse(problem, parser->part.name, "a part's Content-Transfer-Encoding must be binary, 8bit or 7bit");
	}
	return TS_OK;
}

// The header is whole (each line ends with CRLF, the empty one is cut off).
static enum ts_err begin_part(struct ts_multipart *parser, struct ts_problem *problem)
{
	parser->part = (struct ts_multipart_part){0};
	if (memchr(parser->header, '\0', parser->header_length))
		return refuse(problem, NULL, "a part's header contains a zero byte");
	parser->header[parser->header_length] = '\0';
	for (size_t at = 0; at < parser->header_length;) {
		char *line = parser->header + at;
		char *end = strstr(line, "\r\n");
		if (!end)
			return refuse(problem, NULL, "a part's header line is malformed");
		*end = '\0';
		if (strpbrk(line, "\r\n"))
			return refuse(problem, NULL, "a part's header line is malformed");
		TS_TRY(take_header(parser, line, problem));
		at = (size_t)(end - parser->header) + 2;
	}
	if (!parser->part.name[0])
		return refuse(problem, NULL, "a part has no Content-Disposition header");
	if (++parser->parts > TS_MULTIPART_PARTS_MAX)
		return refuse(problem, parser->part.name, "the form has more than 32 parts");
	return parser->sink.begin(parser->sink.ctx, &parser->part, problem);
}

static enum ts_err header_byte(struct ts_multipart *parser, char c, struct ts_problem *problem)
{
	if (parser->header_length == TS_MULTIPART_HEADER_MAX)
		return refuse(problem, NULL, "a part's header is longer than 4096 bytes");
	parser->header[parser->header_length++] = c;
	size_t length = parser->header_length;
	const char *tail = parser->header + length;
	bool empty = length == 2 && memcmp(tail - 2, "\r\n", 2) == 0;
	if (!empty && (length < 4 || memcmp(tail - 4, "\r\n\r\n", 4) != 0))
		return TS_OK;
	parser->header_length -= 2;
	TS_TRY(begin_part(parser, problem));
	parser->state = IN_BODY;
	parser->in_part = true;
	return TS_OK;
}

// Sends what had been taken for a delimiter on as data.
static enum ts_err flush_match(struct ts_multipart *parser, struct ts_problem *problem)
{
	size_t matched = parser->matched;

	parser->matched = 0;
	return matched ? parser->sink.data(parser->sink.ctx, parser->delimiter, matched, problem) : TS_OK;
}

static enum ts_err delimiter_byte(struct ts_multipart *parser, char c, bool *out_again, struct ts_problem *problem)
{
	if (c == parser->delimiter[parser->matched]) {
		if (++parser->matched < parser->delimiter_length)
			return TS_OK;
		parser->matched = 0;
		parser->state = AFTER_DELIMITER;
		if (!parser->in_part)
			return TS_OK;
		parser->in_part = false;
		return parser->sink.end(parser->sink.ctx, problem);
	}
	if (!parser->in_part) {
		// Before the first delimiter only an empty line is let through.
		if (parser->matched == 2 && c == '\r') {
			parser->matched = 1;
			return TS_OK;
		}
		return refuse(problem, NULL, "the body must begin with the boundary that Content-Type names");
	}
	TS_TRY(flush_match(parser, problem));
	parser->state = IN_BODY;
	*out_again = true;
	return TS_OK;
}

// Everything but IN_BODY and CLOSED, a byte at a time.
static enum ts_err step(struct ts_multipart *parser, char c, bool *out_again, struct ts_problem *problem)
{
	switch (parser->state) {
	case AT_DELIMITER: return delimiter_byte(parser, c, out_again, problem);
	case AFTER_DELIMITER:
		if (c == '-') {
			parser->state = AFTER_DASH;
			return TS_OK;
		}
		parser->state = PADDING;
		*out_again = true;
		return TS_OK;
	case AFTER_DASH:
		if (c != '-')
			return refuse(problem, NULL, "a boundary line is malformed");
		parser->state = CLOSED;
		return TS_OK;
	case PADDING:
		if (c == '\r')
			parser->state = PADDING_LF;
		else if (c != ' ' && c != '\t')
			return refuse(problem, NULL, "a boundary line is malformed");
		return TS_OK;
	case PADDING_LF:
		if (c != '\n')
			return refuse(problem, NULL, "a boundary line is malformed");
		parser->state = IN_HEADER;
		parser->header_length = 0;
		return TS_OK;
	case IN_HEADER: return header_byte(parser, c, problem);
	case IN_BODY:
	case CLOSED:
	default: return TS_OK;
	}
}

enum ts_err ts_multipart_feed(struct ts_multipart *parser, const void *bytes, size_t length, struct ts_problem *problem)
{
	const char *text = bytes;

	for (size_t i = 0; i < length && parser->state != CLOSED;) {
		if (parser->state == IN_BODY) {
			const char *cr = memchr(text + i, '\r', length - i);
			size_t plain = cr ? (size_t)(cr - text) - i : length - i;
			if (plain)
				TS_TRY(parser->sink.data(parser->sink.ctx, text + i, plain, problem));
			i += plain;
			if (cr) {
				parser->state = AT_DELIMITER;
				parser->matched = 1;
				i++;
			}
			continue;
		}
		bool again = false;
		TS_TRY(step(parser, text[i], &again, problem));
		i += !again;
	}
	return TS_OK;
}

enum ts_err ts_multipart_finish(struct ts_multipart *parser, struct ts_problem *problem)
{
	if (parser->state != CLOSED)
		return refuse(problem, NULL, "the body ends before its closing boundary");
	return TS_OK;
}
