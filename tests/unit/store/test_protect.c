// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a stray pointer or an attacker cannot do to the mappings of a store.
 */
#include "kselftest_harness.h"

#include "scratch.h"
#include "store/internal.h"

#include <signal.h>
#include <sys/syscall.h>

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

/* Run as a program of its own (an exec, so that the kernel lays it out anew): opens the store and prints its bases. */
__attribute__((constructor)) static void print_bases(void)
{
	const char *dir = getenv("PF_TEST_PRINT_BASES");
	struct pinfold_config config = scratch_config(PINFOLD_SYNC_SYNC, 0);
	struct pf_store *store;

	if (!dir)
		return;
	snprintf(scratch_dir, sizeof(scratch_dir), "%s", dir);
	if (scratch_open_config(&config, &store) == 0)
		printf("%p %p\n", (void *)store->base, (void *)store->rw_base);
	fflush(stdout);
	_exit(0);
}

FIXTURE(protect)
{
	struct pf_store *store;
	struct pinfold_config config;
	struct pinfold_extent extent;
};

FIXTURE_SETUP(protect)
{
	ASSERT_TRUE(scratch_make());
	self->config = scratch_config(PINFOLD_SYNC_SYNC, PINFOLD_OPEN_CREATE);
}

FIXTURE_TEARDOWN(protect)
{
	scratch_remove();
}

static int begin(FIXTURE_DATA(protect) * self)
{
	int r = scratch_open_config(&self->config, &self->store);

	return r < 0 ? r : scratch_extent(self->store, 2 * MIB, &self->extent);
}

/* How a child that runs @fn ends: the signal, or 0. */
static int signal_of(void (*fn)(void *at), void *at)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		fn(at);
		_exit(0);
	}
	return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void write_byte(void *at)
{
	*(volatile char *)at = 1;
}

static void read_byte(void *at)
{
	(void)*(volatile char *)at;
}

static int writable_maps(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[8192], mode[8];
	int count = 0;

	while (maps && fgets(line, sizeof(line), maps))
		if (strstr(line, scratch_dir) && strstr(line, "/data.") && sscanf(line, "%*s %7s", mode) == 1)
			count += mode[1] == 'w';
	if (maps)
		fclose(maps);
	return maps ? count : -1;
}

TEST_F(protect, data_mapping_cannot_be_written_nor_made_writable)
{
	ASSERT_EQ(0, begin(self));
	EXPECT_EQ(SIGSEGV, signal_of(write_byte, (void *)scratch_addr(self->store, &self->extent)));
	EXPECT_EQ(0, signal_of(read_byte, (void *)scratch_addr(self->store, &self->extent)));
	EXPECT_EQ(-1, mprotect(self->store->base, 4096, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(1, writable_maps()); /* the window */
	ASSERT_EQ(0, pf_store_close(self->store));
	EXPECT_EQ(0, writable_maps());
}

TEST_F(protect, mappings_are_where_the_kernel_chose)
{
	char command[8300], randomize = '0', first[80] = "", next[80];
	FILE *file = fopen("/proc/sys/kernel/randomize_va_space", "r");
	int different = 0;

	if (file) {
		ASSERT_EQ(1, fread(&randomize, 1, 1, file));
		fclose(file);
	}
	if (randomize == '0')
		SKIP(return, "address space randomisation is off on this host (kernel.randomize_va_space)");
	ASSERT_EQ(0, begin(self));
	ASSERT_EQ(0, pf_store_close(self->store));
	snprintf(command, sizeof(command), "PF_TEST_PRINT_BASES='%s' /proc/%d/exe", scratch_dir, (int)getpid());
	for (int i = 0; i < 4; i++) {
		file = popen(command, "r");
		ASSERT_NE(NULL, file);
		ASSERT_NE(NULL, fgets(next, sizeof(next), file));
		ASSERT_EQ(0, pclose(file));
		if (i == 0)
			strcpy(first, next);
		different += strcmp(first, next) != 0;
	}
	EXPECT_LT(0, different);
}

TEST_F(protect, sealed_data_mapping_stays)
{
	struct pinfold_store_stats stats;
	struct pinfold_extent big;
	uint64_t value = 42, got = 0;
	uint8_t *base, *second;

	self->config.seal = true;
	ASSERT_EQ(0, begin(self));
	stats = scratch_stat(self->store);
	if (!stats.sealed) {
		EXPECT_NE(NULL, strstr(stats.protect_refused, "mseal"));
		ASSERT_EQ(0, pf_store_close(self->store));
		SKIP(return, "this kernel cannot seal: %s", stats.protect_refused);
	}
	EXPECT_EQ('\0', stats.protect_refused[0]);
	base = self->store->base;
	second = base + self->store->file_size;
	EXPECT_EQ(0, munmap(second, 4096)); /* the reservation is not sealed: files are mapped over it */
	for (int i = 0; i < 2; i++) { /* it grows by a file, which is sealed too; each file holds one such extent */
		ASSERT_EQ(0, scratch_extent(self->store, 512 * MIB, &big));
	}
	ASSERT_EQ(1, big.file_id);
	for (uint8_t *at = base; at <= second; at += self->store->file_size) {
		EXPECT_EQ(-1, munmap(at, 4096));
		EXPECT_EQ(EPERM, errno);
		EXPECT_EQ(-1, mprotect(at, 4096, PROT_NONE));
		EXPECT_EQ(EPERM, errno);
		EXPECT_EQ(MAP_FAILED,
			  mmap(at, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		EXPECT_EQ(EPERM, errno);
		EXPECT_EQ(MAP_FAILED, mremap(at, 4096, 8192, MREMAP_MAYMOVE));
		EXPECT_EQ(EPERM, errno);
		/* what residency and telemetry do to it */
		EXPECT_EQ(0, madvise(at, 2 * MIB, MADV_RANDOM));
		EXPECT_EQ(0, madvise(at, 4096, MADV_POPULATE_READ));
		EXPECT_EQ(0, madvise(at, 4096, MADV_DONTNEED));
	}
	ASSERT_EQ(0, scratch_write(self->store, &big, 0, &value, sizeof(value)));
	EXPECT_EQ(value, *(const uint64_t *)scratch_addr(self->store, &big));
	ASSERT_EQ(0, pf_store_close(self->store));
	EXPECT_EQ(0, writable_maps());
	EXPECT_EQ(0, signal_of(read_byte, base)); /* what was sealed is there, and nothing around it is */
	EXPECT_EQ(SIGSEGV, signal_of(read_byte, second + self->config.file_size));
	self->config.flags = 0;
	ASSERT_EQ(0, scratch_open_config(&self->config, &self->store));
	ASSERT_EQ(0, pf_read_at(self->store, &big, 0, &got, sizeof(got)));
	EXPECT_EQ(value, got);
	ASSERT_EQ(0, pf_store_close(self->store));
}

TEST_F(protect, window_behind_a_key)
{
	struct pinfold_store_stats stats;
	uint64_t value = 43, got = 0;
	uint8_t *window;

	self->config.protection_keys = true;
	ASSERT_EQ(0, begin(self));
	stats = scratch_stat(self->store);
	for (int i = 0; i < 20; i++)
		ASSERT_EQ(0, scratch_write(self->store, &self->extent, 0, &value, sizeof(value)));
	ASSERT_EQ(0, pf_read_at(self->store, &self->extent, 0, &got, sizeof(got)));
	EXPECT_EQ(value, got);
	window = self->store->rw_base + self->extent.offset;
	if (stats.guarded) {
		EXPECT_EQ(SIGSEGV, signal_of(write_byte, window));
		EXPECT_EQ(SIGSEGV, signal_of(read_byte, window));
	} else {
		EXPECT_NE(NULL, strstr(stats.protect_refused, "protection keys: "));
		EXPECT_EQ(0, signal_of(read_byte, window));
	}
	ASSERT_EQ(0, pf_store_close(self->store));
	if (!stats.guarded)
		SKIP(return, "%s", stats.protect_refused);
}

TEST_HARNESS_MAIN
