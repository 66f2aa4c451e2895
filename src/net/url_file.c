// file:// URLs: opened only below one root, judged on the opened file and not on a name that may change meanwhile.
#include "base/mem.h"
#include "net/url.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static void free_libc(char **p)
{
	free(*p);
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return (c | 0x20) - 'a' + 10;
}

// An encoded slash would let one path step climb over others; an encoded NUL would cut the path.
static enum ts_err decode_path(const char *path, char **out, struct ts_error *error)
{
	char *text = ts_strdup(path);

	if (!text)
		return ts_fail_nomem(error);
	char *to = text;
	for (const char *c = path; *c; c++) {
		char byte = *c;
		if (byte == '%') {
			byte = (char)(hex_value(c[1]) * 16 + hex_value(c[2]));
			c += 2;
			if (byte == '\0' || byte == '/') {
				ts_free(text);
				return ts_fail(error, TS_ERR_INVALID, "file URL must not contain an encoded slash or NUL");
			}
		}
		*to++ = byte;
	}
	*to = '\0';
	*out = text;
	return TS_OK;
}

static bool has_dot_step(const char *path)
{
	for (const char *step = path; step; step = strchr(step, '/')) {
		step += *step == '/';
		size_t length = strcspn(step, "/");
		if ((length == 1 && step[0] == '.') || (length == 2 && step[0] == '.' && step[1] == '.'))
			return true;
	}
	return false;
}

// Strictly below the directory.
static bool lies_under(const char *path, const char *directory)
{
	size_t length = strlen(directory);

	while (length > 0 && directory[length - 1] == '/')
		length--;
	return strncmp(path, directory, length) == 0 && path[length] == '/';
}

static enum ts_err fail_outside(struct ts_error *error)
{
	return ts_fail(error, TS_ERR_NET_FORBIDDEN, "file URL lies outside the folder that file URLs may read");
}

enum ts_err ts_url_open_file(const struct ts_url *url, const char *root, int *out_fd, struct ts_error *error)
{
	TS_AUTOFREE char *path = NULL;
	TS_CLEANUP(free_libc) char *real_root = NULL;
	TS_CLEANUP(close_fd) int handle = -1;
	char link[64];
	char real[PATH_MAX];
	struct stat status;

	if (!root)
		return ts_fail(error, TS_ERR_NET_FORBIDDEN, "file URLs are not allowed here");
	TS_TRY(decode_path(url->path, &path, error));
	real_root = realpath(root, NULL);
	if (!real_root)
		return ts_fail_errno(error, TS_ERR_IO, errno, "the folder that file URLs may read cannot be opened");
	// By its text first, so that nobody can probe which files exist elsewhere.
	if (has_dot_step(path) || !(lies_under(path, root) || lies_under(path, real_root)))
		return fail_outside(error);
	// O_PATH opens without side effects (a FIFO would block, a device would act).
	handle = open(path, O_PATH | O_CLOEXEC);
	if (handle < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG))
		return ts_fail(error, TS_ERR_NOT_FOUND, "file does not exist");
	if (handle < 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "file cannot be opened");
	snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
	ssize_t length = readlink(link, real, sizeof real - 1);
	if (length < 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "file cannot be located");
	real[length] = '\0';
	if (!lies_under(real, real_root))
		return fail_outside(error);
	if (fstat(handle, &status) != 0 || !S_ISREG(status.st_mode))
		return ts_fail(error, TS_ERR_INVALID, "file URL must name a regular file");
	int fd = open(link, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "file cannot be opened for reading");
	*out_fd = fd;
	return TS_OK;
}
