// SPDX-License-Identifier: LGPL-2.1-or-later
/* output_file.c - files that a command writes in one go: whole, or not there. */
#include "output_file.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int output_file_open(const char *path, FILE **ret_file, char *ret_error, size_t error_size)
{
	FILE *file = fopen(path, "we");
	int error = errno;

	if (!file) {
		snprintf(ret_error, error_size, "%s: %s", path, strerror(error));
		return -error;
	}
	*ret_file = file;
	return 0;
}

/* Not a device or a pipe: those were there before. */
static void remove_regular(const char *path, const struct stat *opened)
{
	struct stat st;

	if (S_ISREG(opened->st_mode) && !lstat(path, &st) && st.st_dev == opened->st_dev &&
	    st.st_ino == opened->st_ino)
		unlink(path);
}

int output_file_close(FILE *file, const char *path, int failed, char *ret_error, size_t error_size)
{
	struct stat opened = {0};

	if (fstat(fileno(file), &opened) && !failed)
		failed = errno;
	if (fflush(file) && !failed)
		failed = errno;
	if (ferror(file) && !failed)
		failed = EIO;
	/* NFS and quotas answer only now */
	if (fclose(file) && !failed)
		failed = errno;
	if (!failed)
		return 0;
	remove_regular(path, &opened);
	snprintf(ret_error, error_size, "%s: %s", path, strerror(failed));
	return -failed;
}

int output_file_check(const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];
	struct stat st;

	if (!stat(path, &st))
		return S_ISDIR(st.st_mode) ? EISDIR : access(path, W_OK) ? errno : 0;
	if (errno != ENOENT)
		return errno;
	if ((size_t)snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".") >=
	    sizeof(dir))
		return ENAMETOOLONG;
	return access(dir, W_OK | X_OK) ? errno : 0;
}
