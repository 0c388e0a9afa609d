// SPDX-License-Identifier: LGPL-2.1-or-later
/* subprocess.c - reading a file through the decompressor that its name asks for. */
#include "subprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const struct {
	const char *suffix, *tool;
} tools[] = {
	{".xz", "xz"}, {".gz", "gzip"}, {".lz4", "lz4"}, {".zst", "zstd"}, {".bz2", "bzip2"},
};

static const char *tool_for(const char *path)
{
	size_t size = strlen(path);

	for (size_t i = 0; i < sizeof(tools) / sizeof(*tools); i++) {
		size_t n = strlen(tools[i].suffix);

		if (size > n && !strcmp(path + size - n, tools[i].suffix))
			return tools[i].tool;
	}
	return NULL;
}

/* Runs "TOOL -dc" with @fd as its input and @words_fd for its words; the file name never reaches a command line. */
static int spawn_tool(const char *tool, int fd, int words_fd, int *ret_pipe, pid_t *ret_pid)
{
	char *argv[] = {(char *)tool, (char *)"-dc", NULL};
	posix_spawn_file_actions_t actions;
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	r = posix_spawn_file_actions_init(&actions);
	if (r)
		goto err_close_pipe;
	r = posix_spawn_file_actions_adddup2(&actions, fd, STDIN_FILENO);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&actions, words_fd, STDERR_FILENO);
	if (!r)
		r = posix_spawnp(ret_pid, tool, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (r)
		goto err_close_pipe;
	close(fds[1]);
	*ret_pipe = fds[0];
	return 0;

err_close_pipe:
	close(fds[0]);
	close(fds[1]);
	return -r;
}

/* The first line that the tool said and that is not empty; "" if there is none. @ret_words has @size bytes. */
static void words_read(int fd, char *ret_words, size_t size)
{
	ssize_t n = pread(fd, ret_words, size - 1, 0);
	size_t skip;

	ret_words[n > 0 ? n : 0] = 0;
	skip = strspn(ret_words, "\n");
	memmove(ret_words, ret_words + skip, strlen(ret_words + skip) + 1);
	ret_words[strcspn(ret_words, "\n")] = 0;
}

int input_open(const char *path, struct input *ret_input, char *ret_error, size_t error_size)
{
	struct input input = {0};
	struct stat st;
	int fd, r, pipe_fd = -1;

	if (!strcmp(path, "-")) {
		*ret_input = (struct input){.stream = stdin, .is_stdin = true};
		return 0;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st)) {
		r = -errno;
		snprintf(ret_error, error_size, "%s: %s", path, strerror(-r));
		goto err_close;
	}
	if (S_ISDIR(st.st_mode)) {
		r = -EISDIR;
		snprintf(ret_error, error_size, "%s: is a directory, not a file to read", path);
		goto err_close;
	}
	input.tool = tool_for(path);
	if (input.tool) {
		input.words_fd = memfd_create("words", MFD_CLOEXEC);
		r = input.words_fd < 0 ? -errno : spawn_tool(input.tool, fd, input.words_fd, &pipe_fd, &input.pid);
		if (r) {
			if (input.words_fd >= 0)
				close(input.words_fd);
			snprintf(ret_error, error_size, "%s: needs '%s' to be read: %s", path, input.tool,
				 strerror(-r));
			goto err_close;
		}
		close(fd);
		fd = pipe_fd;
	} else if (S_ISREG(st.st_mode)) {
		input.file_size = (uint64_t)st.st_size;
	}
	input.stream = fdopen(fd, "r");
	if (!input.stream) {
		r = -errno;
		snprintf(ret_error, error_size, "%s: %s", path, strerror(-r));
		goto err_close;
	}
	*ret_input = input;
	return 0;

err_close:
	if (fd >= 0)
		close(fd);
	return r;
}

int input_close(struct input *input, bool drained, char *ret_error, size_t error_size)
{
	char words[128] = "";
	int status = 0;
	bool read_failed = ferror(input->stream);

	if (!input->is_stdin)
		fclose(input->stream);
	input->stream = NULL;
	if (input->pid) {
		/* Our own child, which would otherwise wait for a reader. */
		if (!drained)
			kill(input->pid, SIGTERM);
		while (waitpid(input->pid, &status, 0) < 0 && errno == EINTR)
			;
		input->pid = 0;
		words_read(input->words_fd, words, sizeof(words));
		close(input->words_fd);
	}
	if (!drained)
		return 0;
	if (read_failed) {
		snprintf(ret_error, error_size, "reading failed");
		return -EIO;
	}
	if (status) {
		snprintf(ret_error, error_size, "%s failed (%s %d): the file is damaged or cut short%s%s", input->tool,
			 WIFSIGNALED(status) ? "signal" : "exit status",
			 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), *words ? ": " : "", words);
		return -EIO;
	}
	return 0;
}
