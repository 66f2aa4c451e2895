// Brings the sources together: defaults < file < environment < command line. An empty value in the environment
// counts as not set (compose files and manifests hand empty ones through); in a file or on the command line it
// asks for the default. NAME_FILE reads the value from a file, so that secrets need not stand in an environment.
#include "config/config_table.h"

#include "base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILE_CEILING ((size_t)1 << 20)
#define VALUE_FILE_CEILING ((size_t)65536)
#define FILE_SUFFIX "_FILE"
#define CONFIG_FILE_NAME "CONFIG_FILE"
#define SHOWN_MAX 80 // bytes of a bad value that a message repeats

// Where a value was found, for messages.
struct place {
	enum ts_config_source source;
	const char *file; // of FROM_FILE
	int line;
};

struct loader {
	struct ts_config config;
	// What named each value within the current source: 0 nothing, 1 NAME, 2 NAME_FILE.
	unsigned char seen[TS_CONFIG_COUNT];
};

static void describe(const struct place *place, char *out, size_t size)
{
	if (place->source == TS_CONFIG_FROM_FILE)
		snprintf(out, size, "line %d of %s", place->line, place->file);
	else
		snprintf(out, size, "%s", ts_config_source_name(place->source));
}

// Whether `length` bytes of key name this row. Option style is lower-case with dashes.
static bool names_row(const struct ts_config_row *row, const char *key, size_t length, bool option)
{
	if (strlen(row->name) != length)
		return false;
	for (size_t i = 0; i < length; i++) {
		char c = row->name[i];
		if (option)
			c = c == '_' ? '-' : (char)tolower((unsigned char)c);
		if (c != key[i])
			return false;
	}
	return true;
}

static bool find_row(const char *key, size_t length, bool option, size_t *out_index, bool *out_from_file)
{
	const char *suffix = option ? "-file" : FILE_SUFFIX;
	size_t suffix_length = strlen(suffix);

	for (size_t i = 0; i < TS_CONFIG_COUNT; i++) {
		if (names_row(&ts_config_rows[i], key, length, option)) {
			*out_index = i;
			*out_from_file = false;
			return true;
		}
	}
	if (length <= suffix_length || memcmp(key + length - suffix_length, suffix, suffix_length) != 0)
		return false;
	for (size_t i = 0; i < TS_CONFIG_COUNT; i++) {
		if (names_row(&ts_config_rows[i], key, length - suffix_length, option)) {
			*out_index = i;
			*out_from_file = true;
			return true;
		}
	}
	return false;
}

// Reads a whole small file. The message has no name in front.
static enum ts_err read_file(const char *path, size_t ceiling, struct ts_buf *out, struct ts_error *error)
{
	char chunk[4096];
	ssize_t got;

	ts_buf_init(out, ceiling);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return ts_fail_errno(error, TS_ERR_INVALID, errno, "cannot open %s", path);
	while ((got = read(fd, chunk, sizeof chunk)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			int reason = errno;
			close(fd);
			return ts_fail_errno(error, TS_ERR_INVALID, reason, "cannot read %s", path);
		}
		ts_buf_add(out, chunk, (size_t)got);
		if (ts_buf_status(out, NULL) != TS_OK)
			break;
	}
	close(fd);
	explicit_bzero(chunk, sizeof chunk);
	if (ts_buf_status(out, NULL) == TS_ERR_LIMIT)
		return ts_fail(error, TS_ERR_INVALID, "%s is larger than %zu bytes", path, ceiling);
	TS_TRY(ts_buf_status(out, error));
	if (out->length && memchr(out->data, '\0', out->length))
		return ts_fail(error, TS_ERR_INVALID, "%s contains a NUL byte", path);
	return TS_OK;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

// Cuts blanks off both ends, in place.
static char *trim(char *text)
{
	while (is_space(*text))
		text++;
	size_t length = strlen(text);
	while (length && is_space(text[length - 1]))
		text[--length] = '\0';
	return text;
}

static enum ts_err set_value(struct loader *loader, size_t index, const char *value, const struct place *place,
                             struct ts_error *error)
{
	const struct ts_config_row *row = &ts_config_rows[index];
	struct ts_error why = {0};
	char where[256];

	enum ts_err err = ts_config_value_set(row, *value ? value : row->fallback, &loader->config, &why);
	if (err == TS_OK) {
		loader->config.source[index] = place->source;
		return TS_OK;
	}
	if (err == TS_ERR_NOMEM)
		return ts_fail_nomem(error);
	describe(place, where, sizeof where);
	// What has an @ may be a URL with a password in it.
	if (row->secret || strchr(value, '@'))
		return ts_fail_field(error, err, row->name, "%s (%s): %s", row->name, where, why.message);
	return ts_fail_field(error, err, row->name, "%s=%.*s%s (%s): %s", row->name, SHOWN_MAX, value,
	                     strlen(value) > SHOWN_MAX ? "..." : "", where, why.message);
}

static void release_secret(struct ts_buf *buf)
{
	if (buf->data)
		explicit_bzero(buf->data, buf->length);
	ts_buf_finish(buf);
}

static enum ts_err set_from_file(struct loader *loader, size_t index, const char *path, const struct place *place,
                                 struct ts_error *error)
{
	TS_CLEANUP(release_secret) struct ts_buf content = {0};
	const struct ts_config_row *row = &ts_config_rows[index];
	struct ts_error why = {0};
	char where[256];

	enum ts_err err = read_file(path, VALUE_FILE_CEILING, &content, &why);
	if (err == TS_ERR_NOMEM)
		return ts_fail_nomem(error);
	describe(place, where, sizeof where);
	if (err != TS_OK)
		return ts_fail_field(error, err, row->name, "%s" FILE_SUFFIX " (%s): %s", row->name, where, why.message);
	char nothing[1] = "";
	return set_value(loader, index, content.data ? trim(content.data) : nothing, place, error);
}

// One name of one source. Within a file or an environment a value has one name only.
static enum ts_err apply(struct loader *loader, size_t index, bool from_file, const char *value,
                         const struct place *place, struct ts_error *error)
{
	unsigned char kind = from_file ? 2 : 1;

	if (place->source != TS_CONFIG_FROM_COMMAND_LINE && loader->seen[index]) {
		const char *name = ts_config_rows[index].name;
		char where[256];
		describe(place, where, sizeof where);
		if (loader->seen[index] != kind)
			return ts_fail_field(error, TS_ERR_INVALID, name, "%s (%s): set either it or %s" FILE_SUFFIX ", not both",
			                     name, where, name);
		return ts_fail_field(error, TS_ERR_INVALID, name, "%s (%s): is set twice", name, where);
	}
	loader->seen[index] = kind;
	if (from_file && *value)
		return set_from_file(loader, index, value, place, error);
	return set_value(loader, index, value, place, error);
}

static enum ts_err load_defaults(struct loader *loader, struct ts_error *error)
{
	const struct place place = {.source = TS_CONFIG_FROM_DEFAULT};

	for (size_t i = 0; i < TS_CONFIG_COUNT; i++)
		TS_TRY(set_value(loader, i, "", &place, error));
	return TS_OK;
}

// The value of a line, in place: quotes removed, or a comment (a blank and #) cut off.
static char *line_value(char *raw)
{
	char *value = trim(raw);
	char quote = *value;

	if (quote == '"' || quote == '\'') {
		for (char *end = strchr(value + 1, quote); end; end = strchr(end + 1, quote)) {
			const char *rest = end + 1 + strspn(end + 1, " \t");
			if (*rest != '\0' && (*rest != '#' || rest == end + 1))
				continue;
			*end = '\0';
			return value + 1;
		}
	}
	for (char *at = value; *at; at++) {
		if (*at == '#' && (at == value ? at > raw : is_space(at[-1]))) {
			*at = '\0';
			return trim(value);
		}
	}
	return value;
}

static enum ts_err load_line(struct loader *loader, char *line, const struct place *place, struct ts_error *error)
{
	size_t index;
	bool from_file;

	char *key = trim(line);
	if (!*key || *key == '#')
		return TS_OK;
	char *equals = strchr(key, '=');
	if (!equals)
		return ts_fail(error, TS_ERR_INVALID, "line %d of %s: must be NAME=value, a comment (#) or empty", place->line,
		               place->file);
	*equals = '\0';
	key = trim(key);
	if (!find_row(key, strlen(key), false, &index, &from_file))
		return ts_fail_field(error, TS_ERR_INVALID, key,
		                     "line %d of %s: %.64s is not a configuration name (docs/configuration.md lists them)",
		                     place->line, place->file, key);
	return apply(loader, index, from_file, line_value(equals + 1), place, error);
}

static enum ts_err load_file(struct loader *loader, const char *path, struct ts_error *error)
{
	TS_CLEANUP(release_secret) struct ts_buf content = {0};
	struct place place = {.source = TS_CONFIG_FROM_FILE, .file = path};
	struct ts_error why = {0};

	enum ts_err err = read_file(path, FILE_CEILING, &content, &why);
	if (err == TS_ERR_NOMEM)
		return ts_fail_nomem(error);
	if (err != TS_OK)
		return ts_fail_field(error, err, CONFIG_FILE_NAME, CONFIG_FILE_NAME ": %s", why.message);
	memset(loader->seen, 0, sizeof loader->seen);
	for (char *line = content.data; line;) {
		char *next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		place.line++;
		TS_TRY(load_line(loader, line, &place, error));
		line = next;
	}
	return TS_OK;
}

static const char *environment_value(char *const *environment, const char *name)
{
	size_t length = strlen(name);

	for (; environment && *environment; environment++)
		if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
			return *environment + length + 1;
	return NULL;
}

static enum ts_err load_environment(struct loader *loader, char *const *environment, struct ts_error *error)
{
	const struct place place = {.source = TS_CONFIG_FROM_ENVIRONMENT};
	char file_name[80];

	memset(loader->seen, 0, sizeof loader->seen);
	for (size_t i = 0; i < TS_CONFIG_COUNT; i++) {
		const char *value = environment_value(environment, ts_config_rows[i].name);
		snprintf(file_name, sizeof file_name, "%s" FILE_SUFFIX, ts_config_rows[i].name);
		const char *path = environment_value(environment, file_name);
		if (value && *value)
			TS_TRY(apply(loader, i, false, value, &place, error));
		if (path && *path)
			TS_TRY(apply(loader, i, true, path, &place, error));
	}
	return TS_OK;
}

static enum ts_err load_override(struct loader *loader, const char *text, struct ts_error *error)
{
	const struct place place = {.source = TS_CONFIG_FROM_COMMAND_LINE};
	bool option = strncmp(text, "--", 2) == 0, from_file;
	const char *key = text + (option ? 2 : 0);
	size_t length = strcspn(key, "="), index;

	if (key[length] != '=')
		return ts_fail(error, TS_ERR_INVALID, "%.*s (command line): needs a value, as in --name=value", SHOWN_MAX,
		               text);
	if (!find_row(key, length, option, &index, &from_file))
		return ts_fail(error, TS_ERR_INVALID, "%.*s (command line): is not a configuration name",
		               length > SHOWN_MAX ? SHOWN_MAX : (int)length, key);
	return apply(loader, index, from_file, key + length + 1, &place, error);
}

static enum ts_err load_all(struct loader *loader, const struct ts_config_sources *sources, struct ts_error *error)
{
	const char *file = sources->file;

	TS_TRY(load_defaults(loader, error));
	if (!file)
		file = environment_value(sources->environment, CONFIG_FILE_NAME);
	if (file && *file)
		TS_TRY(load_file(loader, file, error));
	TS_TRY(load_environment(loader, sources->environment, error));
	for (size_t i = 0; i < sources->override_count; i++)
		TS_TRY(load_override(loader, sources->overrides[i], error));
	return TS_OK;
}

enum ts_err ts_config_load(const struct ts_config_sources *sources, struct ts_config *out, struct ts_error *error)
{
	struct loader loader = {0};

	enum ts_err err = load_all(&loader, sources, error);
	if (err != TS_OK) {
		ts_config_finish(&loader.config);
		return err;
	}
	ts_config_finish(out);
	*out = loader.config;
	return TS_OK;
}

bool ts_config_is_option(const char *argument, enum ts_config_id *out_id, bool *out_has_value)
{
	size_t index;
	bool from_file;

	if (strncmp(argument, "--", 2) != 0)
		return false;
	size_t length = strcspn(argument + 2, "=");
	if (!find_row(argument + 2, length, true, &index, &from_file))
		return false;
	if (out_id)
		*out_id = (enum ts_config_id)index;
	if (out_has_value)
		*out_has_value = argument[2 + length] == '=';
	return true;
}
