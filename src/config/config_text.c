// What people read of the configuration: the values in force, the help of the programs, and the table of
// docs/configuration.md.
#include "config/config_table.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

// Whether row i opens a group. Rows of a group need not lie together, so groups are taken by first appearance.
static bool opens_group(size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (strcmp(ts_config_rows[k].group, ts_config_rows[i].group) == 0)
			return false;
	return true;
}

static bool in_group(size_t i, size_t opener)
{
	return strcmp(ts_config_rows[i].group, ts_config_rows[opener].group) == 0;
}

static void add_value(const struct ts_config_row *row, const struct ts_config *config, struct ts_buf *buf)
{
	struct ts_buf value;

	ts_buf_init(&value, buf->ceiling);
	ts_config_value_format(row, config, &value);
	if (value.status != TS_OK) {
		buf->status = value.status;
		ts_buf_finish(&value);
		return;
	}
	// Quoted when the loader would otherwise take part of it for a comment, for quotes or for padding.
	const char *text = ts_buf_str(&value);
	size_t length = value.length;
	bool quote =
	    strstr(text, " #") || *text == '"' || *text == '\'' || (length && (text[0] == ' ' || text[length - 1] == ' '));
	const char *mark = !quote ? "" : strchr(text, '"') ? "'" : "\"";
	ts_buf_add_str(buf, mark);
	ts_buf_add_str(buf, text);
	ts_buf_add_str(buf, mark);
	ts_buf_finish(&value);
}

void ts_config_print(const struct ts_config *config, struct ts_buf *buf)
{
	for (size_t opener = 0; opener < TS_CONFIG_COUNT; opener++) {
		if (!opens_group(opener))
			continue;
		ts_buf_printf(buf, "%s# %s\n", opener ? "\n" : "", ts_config_rows[opener].group);
		for (size_t i = opener; i < TS_CONFIG_COUNT; i++) {
			const struct ts_config_row *row = &ts_config_rows[i];
			if (!in_group(i, opener))
				continue;
			ts_buf_printf(buf, "%s=", row->name);
			add_value(row, config, buf);
			ts_buf_printf(buf, "  # %s; %s\n", ts_config_source_name(config->source[i]), row->help);
		}
	}
}

static void add_option(const struct ts_config_row *row, struct ts_buf *buf)
{
	ts_buf_add_str(buf, "--");
	for (const char *c = row->name; *c; c++)
		ts_buf_add_char(buf, *c == '_' ? '-' : (char)tolower((unsigned char)*c));
}

static const char *shown_default(const struct ts_config_row *row)
{
	return *row->fallback ? row->fallback : "empty";
}

void ts_config_help(struct ts_buf *buf)
{
	ts_buf_add_str(buf, "Configuration, by --name=value, the environment, or NAME=value lines of the file\n"
	                    "that --config PATH or CONFIG_FILE names;"
	                    "NAME_FILE reads a value from a file.\n");
	for (size_t opener = 0; opener < TS_CONFIG_COUNT; opener++) {
		if (!opens_group(opener))
			continue;
		ts_buf_printf(buf, "\n%s:\n", ts_config_rows[opener].group);
		for (size_t i = opener; i < TS_CONFIG_COUNT; i++) {
			const struct ts_config_row *row = &ts_config_rows[i];
			if (!in_group(i, opener))
				continue;
			ts_buf_add_str(buf, "  ");
			add_option(row, buf);
			ts_buf_printf(buf, "  (%s)\n      %s\n      default %s; ", row->name, row->help, shown_default(row));
			ts_config_value_allowed(row, buf);
			ts_buf_add_char(buf, '\n');
		}
	}
}

static void add_markdown_row(const struct ts_config_row *row, struct ts_buf *buf)
{
	ts_buf_printf(buf, "| `%s` | ", row->name);
	if (*row->fallback)
		ts_buf_printf(buf, "`%s`", row->fallback);
	ts_buf_add_str(buf, " | ");
	ts_config_value_allowed(row, buf);
	ts_buf_printf(buf, " | %s%s |\n", row->help, row->secret ? " (secret)" : "");
}

void ts_config_markdown(struct ts_buf *buf)
{
	ts_buf_add_str(
	    buf,
	    "# Configuration\n"
	    "\n"
	    "Made from `src/config/config.def` by `transcription config --markdown`; change the table, not this file.\n"
	    "\n"
	    "Every value has one name. It is taken from, in rising order of precedence:\n"
	    "\n"
	    "1. the default below;\n"
	    "2. the file that `--config PATH` or `CONFIG_FILE` names: lines `NAME=value`; `#` begins a comment at the\n"
	    "   start of a line or after a blank; a value may stand in quotes; an unknown name is an error;\n"
	    "3. the environment; an empty value counts as not set;\n"
	    "4. the command line, `--name=value` (lower case, with dashes: `MAX_UPLOAD_MB` is `--max-upload-mb`).\n"
	    "\n"
	    "In each of them `NAME_FILE` names a file that holds the value, which is how secrets are best handed in.\n"
	    "A bad value stops the start with one line that names it, its source and what is allowed.\n"
	    "`transcription config` prints what is in force, where it came from, and secrets as `***`.\n"
	    "1 MB is 1,048,576 bytes; seconds may have a fraction.\n");
	for (size_t opener = 0; opener < TS_CONFIG_COUNT; opener++) {
		if (!opens_group(opener))
			continue;
		ts_buf_printf(buf, "\n## %s\n\n| Name | Default | Allowed | Meaning |\n|---|---|---|---|\n",
		              ts_config_rows[opener].group);
		for (size_t i = opener; i < TS_CONFIG_COUNT; i++)
			if (in_group(i, opener))
				add_markdown_row(&ts_config_rows[i], buf);
	}
}
