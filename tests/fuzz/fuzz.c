/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuzz.h"

#include "base/error.h"
#include "crash/scratch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

char fuzz_template[SCRATCH_PATH], fuzz_store[SCRATCH_PATH];

static void give_up(const char *what)
{
	fprintf(stderr, "fuzz: %s: %s\n", what, pf_error_text());
	abort();
}

void fuzz_config(uint32_t flags, struct pinfold_config *ret_config)
{
	struct pinfold_config config = {
		.size = sizeof(config),
		.flags = flags | PINFOLD_OPEN_STORE_ONLY,
		.file_size = 1ull << 30,
		.max_mapped_size = 2ull << 30,
		.extent_size = 2ull << 20,
		.journal_size = 16ull << 20,
		.no_io_uring = true,
	};

	if (pf_config_complete(&config, ret_config) < 0)
		give_up("configuration");
}

static void clean_up(void)
{
	scratch_clear(fuzz_template, true);
	scratch_clear(fuzz_store, true);
}

void fuzz_template_make(int (*fill)(struct pf_store *store))
{
	struct pinfold_config config;
	char made[SCRATCH_PATH];
	struct pf_store *store;
	int status = 0;
	pid_t pid;

	if (scratch_make(NULL, fuzz_template) < 0 || scratch_make(NULL, fuzz_store) < 0)
		give_up("scratch directory");
	atexit(clean_up);
	fuzz_config(PINFOLD_OPEN_CREATE, &config);
	if (scratch_make(NULL, made) < 0)
		give_up("scratch directory");
	pid = fork(); /* so that it ends like a killed process, and leaves no thread here */
	if (pid == 0) {
		if (pf_store_open(made, &config, &store) < 0 || fill(store) < 0)
			give_up("template");
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status)
		give_up("template process");
	/* a copy has holes for zeros: it is copied again for every input */
	if (scratch_copy(made, fuzz_template) < 0)
		give_up("copy of the template");
	scratch_clear(made, true);
	fuzz_store_reset();
}

void fuzz_store_reset(void)
{
	if (scratch_copy(fuzz_template, fuzz_store) < 0)
		give_up("copy of the template");
}

void fuzz_patch(const uint8_t *data, size_t size, uint8_t *image, size_t image_size, size_t unit)
{
	while (size >= 3) {
		size_t place = (data[0] | (size_t)data[1] << 8) * unit % image_size, length = data[2];

		data += 3;
		size -= 3;
		if (length > size)
			length = size;
		for (size_t i = 0; i < length; i++)
			image[(place + i) % image_size] = data[i];
		data += length;
		size -= length;
	}
}

static int open_in_store(const char *name, int flags)
{
	char path[SCRATCH_PATH + 64];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", fuzz_store, name);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		give_up(path);
	return fd;
}

void fuzz_file_read(const char *name, uint64_t offset, void *ret_data, size_t size)
{
	int fd = open_in_store(name, O_RDONLY);

	if (pread(fd, ret_data, size, (off_t)offset) != (ssize_t)size)
		give_up(name);
	close(fd);
}

void fuzz_file_write(const char *name, uint64_t offset, const void *data, size_t size)
{
	int fd = open_in_store(name, O_WRONLY);

	if (pwrite(fd, data, size, (off_t)offset) != (ssize_t)size)
		give_up(name);
	close(fd);
}
