/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_live.c - what other processes see of an open store, and what they may ask.
 */
#include "fixture.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static int in_child(int (*fn)(const char *dir, const struct pinfold_extent *extent), const char *dir,
		    const struct pinfold_extent *extent)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn(dir, extent));
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int watch(const char *dir, const struct pinfold_extent *extent)
{
	struct pinfold_live_slice slices[64];
	struct pinfold_live_decision decisions[64];
	struct pinfold_live_history history;
	struct pinfold_live_info info;
	struct pinfold_live *live;
	size_t count;
	int found = 0;

	if (pinfold_live_open(dir, &live))
		return 1;
	if (pinfold_live_info(live, &info) || info.pid != getppid() || info.turn_count == 0)
		return 2;
	if (pinfold_live_slices(live, slices, 64, &count))
		return 3;
	for (size_t i = 0; i < count && i < 64; i++)
		found += slices[i].file_id == extent->file_id && slices[i].index == extent->offset / info.slice_size;
	if (found != 1)
		return 4;
	if (pinfold_live_history(live, &history) || history.row_count == 0 || history.column_count == 0)
		return 5;
	pinfold_live_history_done(&history);
	if (pinfold_live_decisions(live, 0, decisions, 64, &count))
		return 6;
	pinfold_live_close(live);
	return 0;
}

TEST_F(store, another_process_watches)
{
	struct pinfold_extent extent;

	ASSERT_EQ(0, fill_extent(self->pf, 2 * MIB, 0, &extent));
	ASSERT_EQ(0, pinfold_controller_turn(self->pf));
	EXPECT_EQ(0, in_child(watch, self->dir, &extent));
}

static int ask(const char *dir, const struct pinfold_extent *extent)
{
	char message[512] = "";

	if (pinfold_live_pin(dir, extent, 0, 0, NULL, message, sizeof(message)))
		return 1;
	if (!strstr(message, "pinned"))
		return 2;
	if (pinfold_live_pin(dir, extent, extent->len, 1, NULL, message, sizeof(message)) != -ERANGE)
		return 3;
	if (pinfold_live_checkpoint(dir, message, sizeof(message)))
		return 4;
	return 0;
}

static int ask_unpin(const char *dir, const struct pinfold_extent *extent)
{
	char message[512] = "";

	if (pinfold_live_unpin(dir, extent, 0, 0, message, sizeof(message)))
		return 1;
	return pinfold_live_unpin(dir, extent, 0, 0, message, sizeof(message)) == -ENOENT ? 0 : 2;
}

TEST_F(store, another_process_pins_and_unpins)
{
	struct pinfold_pin_stats stats;
	struct pinfold_extent extent;

	ASSERT_EQ(0, fill_extent(self->pf, 2 * MIB, 0, &extent));
	ASSERT_EQ(0, in_child(ask, self->dir, &extent));
	ASSERT_EQ(0, pinfold_pin_stat(self->pf, &stats));
	EXPECT_EQ(2 * MIB, stats.total_pinned_bytes);
	ASSERT_EQ(0, in_child(ask_unpin, self->dir, &extent));
	ASSERT_EQ(0, pinfold_pin_stat(self->pf, &stats));
	EXPECT_EQ(0, stats.total_pinned_bytes);
}

static int stranger(const char *dir, const struct pinfold_extent *extent)
{
	struct pinfold_live *live;
	char message[512];
	int r;

	if (setgid(65534) || setuid(65534))
		return 1;
	r = pinfold_live_open(dir, &live);
	if (r != -EACCES && r != -EPERM)
		return 2;
	r = pinfold_live_pin(dir, extent, 0, 0, NULL, message, sizeof(message));
	return r == -EACCES || r == -EPERM ? 0 : 3;
}

TEST_F(store, a_stranger_sees_nothing)
{
	struct pinfold_extent extent;

	if (geteuid() != 0)
		SKIP(return, "needs root to become another user");
	ASSERT_EQ(0, fill_extent(self->pf, 2 * MIB, 0, &extent));
	EXPECT_EQ(0, in_child(stranger, self->dir, &extent));
	/* Even where the directory was opened up, the socket asks who is there. */
	ASSERT_EQ(0, chmod(self->dir, 0755));
	EXPECT_EQ(0, in_child(stranger, self->dir, &extent));
}

TEST_F(store, nobody_to_watch_after_close)
{
	struct pinfold_live *live;
	char message[512];
	struct pinfold_extent extent = { .len = 2 * MIB };

	ASSERT_EQ(0, pinfold_close(self->pf));
	EXPECT_EQ(-ENOENT, pinfold_live_open(self->dir, &live));
	EXPECT_EQ(-ENOENT, pinfold_live_pin(self->dir, &extent, 0, 0, NULL, message, sizeof(message)));
	self->config.flags = 0;
	ASSERT_EQ(0, pinfold_open(self->dir, &self->config, NULL, 0, &self->pf));
}

/* Connects to the control socket of @dir and sends @size bytes of garbage (none: a client that says nothing). */
static int pester(const char *dir, size_t size)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char garbage[512];
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	memset(garbage, 0x5a, sizeof(garbage));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/control", dir);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return -1;
	if (size && send(fd, garbage, size, MSG_NOSIGNAL) != (ssize_t)size)
		return -1;
	return fd;
}

TEST_F(store, garbage_on_the_control_socket_does_not_stop_the_turns)
{
	struct pinfold_live_info before, after;
	struct pinfold_live *live;
	int quiet, loud;

	ASSERT_EQ(0, pinfold_live_open(self->dir, &live));
	quiet = pester(self->dir, 0);
	loud = pester(self->dir, 300);
	ASSERT_LE(0, quiet);
	ASSERT_LE(0, loud);
	ASSERT_EQ(0, pinfold_live_info(live, &before));
	usleep(1500000);
	ASSERT_EQ(0, pinfold_live_info(live, &after));
	EXPECT_LT(before.turn_count, after.turn_count);
	close(quiet);
	close(loud);
	pinfold_live_close(live);
}

TEST_HARNESS_MAIN
