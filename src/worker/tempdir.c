// Folders of attempts. flock(2) on the folder itself is the proof of life: the kernel drops it with the process,
// however that dies.
#include "worker/tempdir.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 8

// Empties the folder behind fd. Symbolic links are removed, never followed.
static bool empty_folder(int fd, unsigned depth)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (copy < 0)
		return false;
	DIR *folder = fdopendir(copy);
	if (!folder) {
		close(copy);
		return false;
	}
	bool all = true;
	const struct dirent *entry;
	while ((entry = readdir(folder)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, entry->d_name, 0) == 0)
			continue;
		if ((errno == EISDIR || errno == EPERM) && depth < DEPTH_MAX) {
			int inner = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (inner >= 0) {
				empty_folder(inner, depth + 1);
				close(inner);
			}
			if (unlinkat(fd, entry->d_name, AT_REMOVEDIR) == 0)
				continue;
		}
		all = false;
	}
	closedir(folder);
	return all;
}

// Opens and locks the folder: 1 locked, 0 used by a living process, -1 not there any more (or errno).
static int lock_folder(const char *path, int *out_fd)
{
	struct stat opened, named;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		bool used = errno == EWOULDBLOCK;
		close(fd);
		return used ? 0 : -1;
	}
	// A sweep may have removed it between open and lock.
	if (fstat(fd, &opened) != 0 || lstat(path, &named) != 0 || opened.st_ino != named.st_ino ||
	    opened.st_dev != named.st_dev) {
		close(fd);
		errno = ENOENT;
		return -1;
	}
	*out_fd = fd;
	return 1;
}

enum ts_err ts_tempdir_create(const char *parent, const char *job_id, int64_t claim, struct ts_tempdir *out,
                              struct ts_error *error)
{
	TS_AUTOFREE char *path = ts_asprintf("%s/%s.%" PRId64, parent, job_id, claim);
	int fd = -1;

	if (!path)
		return ts_fail_nomem(error);
	for (int tries = 0; tries < 10; tries++) {
		if (mkdir(path, 0700) != 0 && errno != EEXIST)
			return ts_fail_errno(error, TS_ERR_IO, errno, "can't make the job's temporary folder");
		int locked = lock_folder(path, &fd);
		if (locked == 0)
			return ts_fail(error, TS_ERR_BUSY, "the job's temporary folder is used by another process");
		if (locked < 0 && errno == ENOENT)
			continue; // swept in the very moment
		if (locked < 0)
			return ts_fail_errno(error, TS_ERR_IO, errno, "can't open the job's temporary folder");
		if (!empty_folder(fd, 0)) {
			close(fd);
			return ts_fail(error, TS_ERR_IO, "can't empty the job's temporary folder");
		}
		out->path = path;
		out->fd = fd;
		path = NULL;
		return TS_OK;
	}
	return ts_fail(error, TS_ERR_IO, "the job's temporary folder vanishes again and again");
}

void ts_tempdir_remove(struct ts_tempdir *dir)
{
	if (!dir || !dir->path)
		return;
	empty_folder(dir->fd, 0);
	rmdir(dir->path); // before the lock goes, so that nobody takes it up in between
	close(dir->fd);
	ts_free(dir->path);
	*dir = TS_TEMPDIR_NONE;
}

// "UUID.ATTEMPT"
static bool is_ours(const char *name)
{
	char id[TS_UUID_SIZE];
	int64_t claim;

	if (strlen(name) < TS_UUID_SIZE + 1 || name[TS_UUID_SIZE - 1] != '.')
		return false;
	memcpy(id, name, TS_UUID_SIZE - 1);
	id[TS_UUID_SIZE - 1] = '\0';
	return ts_uuid_is_valid(id) && ts_num_parse_i64(name + TS_UUID_SIZE, 0, INT64_MAX, &claim, NULL) == TS_OK;
}

enum ts_err ts_tempdir_sweep(const char *parent, unsigned *out_removed, struct ts_error *error)
{
	DIR *folder = opendir(parent);
	const struct dirent *entry;
	unsigned removed = 0;

	if (!folder)
		return ts_fail_errno(error, TS_ERR_IO, errno, "can't read the temporary folder %s", parent);
	while ((entry = readdir(folder)) != NULL) {
		struct ts_tempdir dir = TS_TEMPDIR_NONE;
		if (!is_ours(entry->d_name))
			continue;
		dir.path = ts_asprintf("%s/%s", parent, entry->d_name);
		if (!dir.path) {
			closedir(folder);
			return ts_fail_nomem(error);
		}
		if (lock_folder(dir.path, &dir.fd) == 1) {
			ts_tempdir_remove(&dir);
			removed++;
		} else {
			ts_free(dir.path);
		}
	}
	closedir(folder);
	*out_removed = removed;
	return TS_OK;
}
