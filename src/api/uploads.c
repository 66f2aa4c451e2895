// Files are made, renamed and removed relative to the folder's descriptor, so that a folder that is moved or replaced
// meanwhile confuses nobody. A file is locked (flock) while it is written: one that nobody holds is a dead process's.
#include "api/uploads.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART ".part"
// Write-back is started this often, so that the final synchronisation of a large file is short.
#define FLUSH_EVERY (UINT64_C(8) << 20)
#define CREATE_TRIES 10

struct ts_upload_file {
	char id[TS_UUID_SIZE];
	char part[TS_UUID_SIZE + sizeof PART];
	int dir, fd;
	uint64_t size, flushed, max_bytes;
	EVP_MD_CTX *sha;
	char sha256[65];
	bool kept, released;
};

static enum ts_err disk_problem(struct ts_problem *problem, int errno_value)
{
	if (errno_value == ENOSPC || errno_value == EDQUOT || errno_value == EFBIG)
		return ts_problem_set(problem, TS_PROBLEM_INSUFFICIENT_STORAGE, "file",
		                      "the disk of the uploads has no room for the file");
	return ts_problem_set(problem, TS_PROBLEM_INTERNAL, "file", "the file could not be written");
}

void ts_upload_file_destroy(struct ts_upload_file *file)
{
	if (!file)
		return;
	if (file->fd >= 0)
		close(file->fd);
	if (file->dir >= 0) {
		if (!file->kept)
			unlinkat(file->dir, file->part, 0);
		else if (!file->released)
			unlinkat(file->dir, file->id, 0);
		close(file->dir);
	}
	EVP_MD_CTX_free(file->sha);
	ts_free(file);
}

// A new, locked file; -1 with errno. A sweep may take it for a dead one between its making and its lock: then another.
static int make_locked(int folder, const char *name)
{
	for (int tries = 0; tries < CREATE_TRIES; tries++) {
		struct stat info;
		int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return -1;
		if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &info) == 0 && info.st_nlink > 0)
			return fd;
		close(fd);
		unlinkat(folder, name, 0);
	}
	errno = EBUSY;
	return -1;
}

TS_DEFINE_CLEANUP(destroy_file, struct ts_upload_file, ts_upload_file_destroy)

enum ts_err ts_upload_file_create(const char *dir, uint64_t max_bytes, int64_t now_ms, struct ts_upload_file **out,
                                  struct ts_problem *problem)
{
	struct ts_rng rng = ts_rng_system();
	TS_CLEANUP(destroy_file) struct ts_upload_file *file = ts_calloc(1, sizeof *file);
	struct ts_error error;

	if (!file) {
		ts_fail_nomem(&error);
		return ts_problem_from(problem, &error);
	}
	file->fd = file->dir = -1;
	file->max_bytes = max_bytes;
	ts_uuid7(&rng, now_ms, file->id);
	snprintf(file->part, sizeof file->part, "%s" PART, file->id);
	file->sha = EVP_MD_CTX_new();
	if (!file->sha || EVP_DigestInit_ex(file->sha, EVP_sha256(), NULL) != 1) {
		ts_fail_nomem(&error);
		return ts_problem_from(problem, &error);
	}
	int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return disk_problem(problem, errno);
	file->fd = make_locked(folder, file->part);
	if (file->fd < 0) {
		int why = errno;
		close(folder);
		return disk_problem(problem, why);
	}
	file->dir = folder;
	*out = file;
	file = NULL;
	return TS_OK;
}

enum ts_err ts_upload_file_write(struct ts_upload_file *file, const void *bytes, size_t length,
                                 struct ts_problem *problem)
{
	const char *next = bytes;

	if (length > file->max_bytes - file->size) {
		ts_problem_set(problem, TS_PROBLEM_BODY_TOO_LARGE, "file", "the file is larger than %llu bytes",
		               (unsigned long long)file->max_bytes);
		ts_problem_hint(problem, "the limit is MAX_UPLOAD_MB; larger files can be fetched from a media_url");
		return TS_ERR_LIMIT;
	}
	if (EVP_DigestUpdate(file->sha, bytes, length) != 1)
		return ts_problem_set(problem, TS_PROBLEM_INTERNAL, "file", "the file could not be written");
	while (length > 0) {
		ssize_t wrote = write(file->fd, next, length);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0)
			return disk_problem(problem, errno);
		next += wrote;
		length -= (size_t)wrote;
		file->size += (uint64_t)wrote;
	}
	if (file->size - file->flushed >= FLUSH_EVERY) {
		// Only a hint: fdatasync tells of failures.
		(void)sync_file_range(file->fd, (off_t)file->flushed, (off_t)(file->size - file->flushed),
		                      SYNC_FILE_RANGE_WRITE);
		file->flushed = file->size;
	}
	return TS_OK;
}

enum ts_err ts_upload_file_seal(struct ts_upload_file *file, struct ts_problem *problem)
{
	unsigned char digest[32];

	if (fsync(file->fd) != 0)
		return disk_problem(problem, errno);
	if (EVP_DigestFinal_ex(file->sha, digest, NULL) != 1)
		return ts_problem_set(problem, TS_PROBLEM_INTERNAL, "file", "the file could not be written");
	for (size_t i = 0; i < sizeof digest; i++)
		snprintf(file->sha256 + 2 * i, 3, "%02x", (unsigned)digest[i]);
	return TS_OK;
}

enum ts_err ts_upload_file_keep(struct ts_upload_file *file, struct ts_error *error)
{
	if (renameat(file->dir, file->part, file->dir, file->id) != 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "cannot rename an upload");
	file->kept = true;
	if (fsync(file->dir) != 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "cannot synchronise the upload folder");
	return TS_OK;
}

void ts_upload_file_release(struct ts_upload_file *file)
{
	file->released = true;
}

const char *ts_upload_file_id(const struct ts_upload_file *file)
{
	return file->id;
}

uint64_t ts_upload_file_size(const struct ts_upload_file *file)
{
	return file->size;
}

const char *ts_upload_file_sha256(const struct ts_upload_file *file)
{
	return file->sha256;
}

static bool is_part(const char *name)
{
	size_t length = strlen(name);
	return length == TS_UUID_SIZE - 1 + sizeof PART - 1 && strcmp(name + TS_UUID_SIZE - 1, PART) == 0;
}

// Takes the lock of a file that nobody writes, and removes it.
static bool remove_dead(int folder, const char *name)
{
	struct stat opened, named;
	int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return false;
	// Under the lock the name must still be this file's: its writer may have renamed it, and made another.
	bool dead = fstat(fd, &opened) == 0 && S_ISREG(opened.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0 &&
	            fstatat(folder, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && named.st_ino == opened.st_ino &&
	            named.st_dev == opened.st_dev && unlinkat(folder, name, 0) == 0;
	close(fd);
	return dead;
}

unsigned ts_uploads_sweep(const char *dir)
{
	unsigned removed = 0;
	const struct dirent *entry;
	DIR *folder = opendir(dir);

	if (!folder)
		return 0;
	while ((entry = readdir(folder)) != NULL)
		removed += is_part(entry->d_name) && remove_dead(dirfd(folder), entry->d_name);
	closedir(folder);
	return removed;
}
