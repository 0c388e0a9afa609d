/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_access.c - who may do what, limits, and arguments that nobody should pass. Runs as root and becomes others.
 */
#include <grp.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#pragma GCC diagnostic ignored "-Woverride-init"
#include "kselftest_harness.h"
#include "region.h"

#define SIZE (4 * SLICE)
#define TESTER 1000
#define OTHER 65534
#define GROUP 900

/* In a child that is the user, in the group or not. Its return value is the child's status. */
#define AS(uid, group)                                                                                                 \
	for (pid_t pid_ = fork(), once_ = 1; once_;                                                                    \
	     once_ = 0, pid_ ? (void)(waitpid(pid_, &status, 0), failures += status != 0) : _exit(bad))                \
		for (int inner_ = !pid_ && (become(uid, group) || (bad = 1, 0)); inner_; inner_ = 0)

static int status, failures, bad;

static int become(uid_t uid, gid_t group)
{
	failures = bad = 0;
	return !setgroups(1, &group) && !setresgid(group, group, group) && !setresuid(uid, uid, uid);
}

#define WANT(condition)                                                                                     \
	do {                                                                                                \
		if (!(condition)) {                                                                         \
			fprintf(stderr, "# %s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
			bad = 1;                                                                            \
		}                                                                                           \
	} while (0)

static int errno_of(long result)
{
	return result < 0 ? errno : 0;
}

static int set_parameter(const char *name, const char *value)
{
	char path[128];
	int fd, r;

	snprintf(path, sizeof(path), "/sys/module/pinfold/parameters/%s", name);
	fd = open(path, O_WRONLY);
	r = fd < 0 || write(fd, value, strlen(value)) < 0 ? -1 : 0;
	close(fd);
	return r;
}

static int query(int fd, unsigned int request)
{
	struct pinfold_scan_args result;
	struct pinfold_query q = {.size = sizeof(q), .grain_shift = 21, .count = 1, .results = (uintptr_t)&result};

	return errno_of(ioctl(fd, request, &q));
}

FIXTURE(access)
{
	int device, theirs, mine, secret;
};

FIXTURE_SETUP(access)
{
	failures = 0;
	/* What the udev rule does. */
	ASSERT_EQ(chown(DEVICE, 0, GROUP) | chmod(DEVICE, 0660), 0);
	self->device = open(DEVICE, O_RDWR);
	ASSERT_GE(self->device, 0);
	ASSERT_GE(file_make("access.root", SIZE, O_RDONLY), 0);
	ASSERT_GE(file_make("access.mine", SIZE, O_RDONLY), 0);
	ASSERT_GE(file_make("access.secret", SIZE, O_RDONLY), 0);
	ASSERT_EQ(chmod("access.secret", 0600) | chown("access.mine", TESTER, TESTER), 0);
}

FIXTURE_TEARDOWN(access)
{
	set_parameter("regions_per_user", "1024");
	set_parameter("memory_per_user", "256");
	unlink("access.root");
	unlink("access.mine");
	unlink("access.secret");
}

TEST_F(access, only_the_group_opens_the_device)
{
	AS(TESTER, TESTER) WANT(errno_of(open(DEVICE, O_RDWR)) == EACCES);
	AS(TESTER, GROUP) WANT(open(DEVICE, O_RDWR) >= 0);
	EXPECT_EQ(failures, 0);
}

TEST_F(access, own_files)
{
	AS(TESTER, GROUP)
	{
		struct region r = { .device = open(DEVICE, O_RDWR),
				    .file = open("access.mine", O_RDWR),
				    .slice_count = 2 };

		r.fd = region_register(r.device, r.file, 21, 0, 0);
		WANT(r.fd >= 0);
		WANT(fcntl(r.fd, F_GETFD) == FD_CLOEXEC);
		WANT((fcntl(r.fd, F_GETFL) & O_ACCMODE) == O_RDWR);
		WANT(region_slots(&r) == 0);
		WANT(query(r.fd, PINFOLD_IOC_SCAN) == 0);
		WANT(query(r.fd, PINFOLD_IOC_AGE) == 0);
		WANT(revoke_all(r.fd, SIZE) == 0);
		WANT(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, 0) != MAP_FAILED);
		/* Nobody writes slots. */
		WANT(errno_of((long)mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, r.slots_fd, 0)) == EACCES);
		WANT(errno_of(mprotect(r.slots, PAGE, PROT_READ | PROT_WRITE)) == EACCES);
		WANT(errno_of((long)mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, r.slots_fd, 0)) == EPERM);
		WANT(errno_of(mprotect(r.slots, PAGE, PROT_READ | PROT_EXEC)) == EACCES);
		WANT(errno_of(write(r.slots_fd, "x", 1)) == EBADF);
	}
	EXPECT_EQ(failures, 0);
}

TEST_F(access, files_of_others_that_are_readable)
{
	AS(TESTER, GROUP)
	{
		struct region r = { .device = open(DEVICE, O_RDWR),
				    .file = open("access.root", O_RDONLY),
				    .slice_count = 2 };
		char *map;

		r.fd = region_register(r.device, r.file, 21, 0, 0);
		WANT(r.fd >= 0);
		WANT(region_slots(&r) == 0);
		map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, r.fd, 0);
		WANT(map != MAP_FAILED && *(uint64_t *)map == 1);
		WANT(region_counts(&r).minor + region_counts(&r).major > 0);
		/* As mmap of the file: no writing through a read-only descriptor, at once or later. */
		WANT(errno_of((long)mmap(NULL, SIZE, PROT_WRITE, MAP_SHARED, r.fd, 0)) == EACCES);
		WANT(errno_of(mprotect(map, SIZE, PROT_READ | PROT_WRITE)) == EACCES);
		WANT(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, r.fd, 0) != MAP_FAILED);
		WANT(errno_of(write(r.fd, "x", 1)) == EBADF);
		/* As mincore: what others made resident is for those who could write. */
		WANT(query(r.fd, PINFOLD_IOC_SCAN) == EPERM);
		WANT(query(r.fd, PINFOLD_IOC_AGE) == EPERM);
		WANT(revoke_all(r.fd, SIZE) == -EPERM);
	}
	EXPECT_EQ(failures, 0);
}

TEST_F(access, files_that_cannot_be_read)
{
	AS(TESTER, GROUP)
	{
		int device = open(DEVICE, O_RDWR), fd = open("access.mine", O_WRONLY);

		WANT(errno_of(open("access.secret", O_RDONLY)) == EACCES);
		WANT(errno_of(region_register(device, fd, 21, 0, 0)) == EBADF);
		fd = open("access.secret", O_PATH);
		WANT(fd >= 0);
		WANT(errno_of(region_register(device, fd, 21, 0, 0)) == EBADF);
	}
	EXPECT_EQ(failures, 0);
}

TEST_F(access, slots_are_for_the_owner)
{
	int fd = open("access.root", O_RDONLY), region = region_register(self->device, fd, 21, 0, 0), slots;

	ASSERT_GE(region, 0);
	slots = ioctl(region, PINFOLD_IOC_SLOTS);
	ASSERT_GE(slots, 0);
	AS(TESTER, GROUP)
	{
		WANT(errno_of(ioctl(region, PINFOLD_IOC_SLOTS)) == EPERM);
		/* But the owner may hand his descriptor on, as here. */
		WANT(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, slots, 0) != MAP_FAILED);
	}
	EXPECT_EQ(failures, 0);
}

TEST_F(access, limit_of_regions)
{
	ASSERT_EQ(set_parameter("regions_per_user", "3"), 0);
	AS(TESTER, GROUP)
	{
		int device = open(DEVICE, O_RDWR), fd = open("access.mine", O_RDONLY), regions[3];

		for (int i = 0; i < 3; i++)
			WANT((regions[i] = region_register(device, fd, 21, 0, 0)) >= 0);
		WANT(errno_of(region_register(device, fd, 21, 0, 0)) == EDQUOT);
		close(regions[1]);
		WANT(region_register(device, fd, 21, 0, 0) >= 0);
	}
	/* CAP_SYS_RESOURCE is exempt. */
	for (int i = 0; i < 5; i++)
		EXPECT_GE(region_register(self->device, open("access.root", O_RDONLY), 21, 0, 0), 0);
	EXPECT_EQ(failures, 0);
}

TEST_F(access, limit_of_memory)
{
	int fd = open("access.mine", O_RDWR);

	/* 1 TiB of file, no blocks: 8192 chunks of 20 KiB for 16 GiB each would be 160 MiB. */
	ASSERT_EQ(ftruncate(fd, 1ll << 40), 0);
	ASSERT_EQ(set_parameter("memory_per_user", "1"), 0);
	AS(TESTER, GROUP)
	{
		struct region r = {.device = open(DEVICE, O_RDWR), .file = open("access.mine", O_RDONLY)};
		struct pinfold_info info = {.size = sizeof(info)};
		uint64_t wrong = 0;
		char *map;

		r.fd = region_register(r.device, r.file, 21, 0, 0);
		WANT(r.fd >= 0);
		map = mmap(NULL, 1ull << 40, PROT_READ, MAP_SHARED | MAP_NORESERVE, r.fd, 0);
		WANT(map != MAP_FAILED);
		for (uint64_t at = 0; at < 1ull << 36; at += 1ull << 28)
			wrong += map[at] != (at ? 0 : 1);
		WANT(wrong == 0);
		WANT(ioctl(r.fd, PINFOLD_IOC_INFO, &info) == 0);
		WANT(info.slot_bytes <= 1 << 20 && info.slot_bytes > 900 << 10);
		WANT(info.lost > 100);
		/* Too much for the limit from the start. */
		WANT(errno_of(region_register(r.device, r.file, 21, 0, 1ull << 44)) == EDQUOT);
	}
	EXPECT_EQ(failures, 0);
}

TEST_F(access, sixteen_tebibytes)
{
	int fd = open("access.root", O_RDWR), slots;
	struct pinfold_info info = {.size = sizeof(info)};
	int region = region_register(self->device, fd, 21, 0, 1ull << 44);

	ASSERT_GE(region, 0);
	slots = ioctl(region, PINFOLD_IOC_SLOTS);
	ASSERT_GE(slots, 0);
	ASSERT_EQ(ioctl(region, PINFOLD_IOC_INFO, &info), 0);
	EXPECT_EQ(info.slice_count, 1 << 23);
	EXPECT_LT(info.slot_bytes, 2 << 20);
	EXPECT_EQ(errno_of(lseek(slots, 0, SEEK_DATA)), ENXIO);
	EXPECT_EQ(lseek(slots, 5, SEEK_HOLE), 5);
	/* Touching the first byte makes one chunk. */
	EXPECT_EQ(*(uint64_t *)mmap(NULL, PAGE, PROT_READ, MAP_SHARED, region, 0), 1);
	EXPECT_EQ(lseek(slots, 0, SEEK_DATA), 0);
	EXPECT_EQ(lseek(slots, 0, SEEK_HOLE), 64 * PINFOLD_SLOT_SIZE);
	EXPECT_EQ(lseek(slots, 0, SEEK_END), (off_t)(1 << 23) * PINFOLD_SLOT_SIZE);
	/* 64 TiB at 2 MiB are too many slices, at 8 MiB not. */
	EXPECT_EQ(errno_of(region_register(self->device, fd, 21, 0, 1ull << 46)), EFBIG);
	EXPECT_GE(region_register(self->device, fd, 23, 0, 1ull << 46), 0);
}

static int register_fd(int device, int fd)
{
	return errno_of(region_register(device, fd, 21, 0, 0));
}

TEST_F(access, what_is_refused)
{
	int pair[2];

	EXPECT_EQ(register_fd(self->device, -1), EBADF);
	EXPECT_EQ(register_fd(self->device, INT_MAX), EBADF);
	EXPECT_EQ(register_fd(self->device, open(".", O_RDONLY)), EINVAL);
	EXPECT_EQ(register_fd(self->device, open("/dev/null", O_RDWR)), EINVAL);
	EXPECT_EQ(register_fd(self->device, self->device), EINVAL);
	ASSERT_EQ(pipe(pair), 0);
	EXPECT_EQ(register_fd(self->device, pair[0]), EINVAL);
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	EXPECT_EQ(register_fd(self->device, pair[0]), EINVAL);
	EXPECT_EQ(register_fd(self->device, open("/proc/self/maps", O_RDONLY)), EOPNOTSUPP);
	EXPECT_EQ(register_fd(self->device, open("/tmp/access.tmpfs", O_RDWR | O_CREAT, 0600)), EOPNOTSUPP);
	EXPECT_EQ(register_fd(self->device, memfd_create("x", 0)), EOPNOTSUPP);
	/* A region of a region's descriptor is one more region of the file. */
	EXPECT_GE(region_register(self->device,
				  region_register(self->device, open("access.root", O_RDONLY), 21, 0, 0), 21, 0, 0), 0);
}

TEST_F(access, hostile_arguments)
{
	int fd = open("access.root", O_RDWR), region = region_register(self->device, fd, 21, 0, 0);
	struct pinfold_scan_args result;
	char *last = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static struct {
		unsigned int request;
		size_t size;
	} const calls[] = { { PINFOLD_IOC_INFO, sizeof(struct pinfold_info) },
			    { PINFOLD_IOC_SCAN, sizeof(struct pinfold_query) },
			    { PINFOLD_IOC_AGE, sizeof(struct pinfold_query) },
			    { PINFOLD_IOC_REVOKE, sizeof(struct pinfold_revoke) },
			    { PINFOLD_IOC_REGISTER, sizeof(struct pinfold_register) } };
	struct pinfold_range range = {.length = PAGE};

	ASSERT_GE(region, 0);
	ASSERT_EQ(munmap(last + PAGE, PAGE), 0);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		int to = calls[i].request == PINFOLD_IOC_REGISTER ? self->device : region;
		static char arg[2 * PAGE];
		static const uint32_t sizes[] = {0, 1, 4, 8, 15};

		EXPECT_EQ(errno_of(ioctl(to, calls[i].request, NULL)), EFAULT);
		EXPECT_EQ(errno_of(ioctl(to, calls[i].request, -1L)), EFAULT);
		EXPECT_EQ(errno_of(ioctl(to, calls[i].request, 0xffff888000000000ul)), EFAULT);
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			memset(arg, 0, sizeof(arg));
			*(uint32_t *)arg = sizes[s];
			EXPECT_EQ(errno_of(ioctl(to, calls[i].request, arg)), EINVAL);
		}
		memset(arg, 0, sizeof(arg));
		*(uint32_t *)arg = PAGE + 1;
		EXPECT_EQ(errno_of(ioctl(to, calls[i].request, arg)), E2BIG);
		*(uint32_t *)arg = UINT32_MAX;
		EXPECT_EQ(errno_of(ioctl(to, calls[i].request, arg)), E2BIG);
		/* Longer than known, and not 0 there. */
		*(uint32_t *)arg = (uint32_t)calls[i].size + 8;
		arg[calls[i].size + 4] = 1;
		EXPECT_EQ(errno_of(ioctl(to, calls[i].request, arg)), E2BIG);
		/* Ends where memory ends. */
		*(uint32_t *)(last + PAGE - 8) = (uint32_t)calls[i].size;
		EXPECT_EQ(errno_of(ioctl(to, calls[i].request, last + PAGE - 8)), EFAULT);
		memset(arg, 255, calls[i].size);
		*(uint32_t *)arg = (uint32_t)calls[i].size;
		EXPECT_EQ(errno_of(ioctl(to, calls[i].request, arg)), EINVAL);
	}
#define QUERY(...)                                                                                                     \
	({                                                                                                             \
		struct pinfold_query q = {.size = sizeof(q), .grain_shift = 21, .count = 1,                            \
					  .results = (uintptr_t)&result, __VA_ARGS__};                                 \
		errno_of(ioctl(region, PINFOLD_IOC_SCAN, &q));                                                         \
	})
	EXPECT_EQ(QUERY(), 0);
	EXPECT_EQ(QUERY(.flags = 1), EINVAL);
	EXPECT_EQ(QUERY(.__reserved = 1), EINVAL);
	EXPECT_EQ(QUERY(.grain_shift = 11), EINVAL);
	EXPECT_EQ(QUERY(.grain_shift = 31), EINVAL);
	EXPECT_EQ(QUERY(.grain_shift = 200), EINVAL);
	EXPECT_EQ(QUERY(.count = 0), EINVAL);
	EXPECT_EQ(QUERY(.count = PINFOLD_GRAINS_MAX + 1), EINVAL);
	EXPECT_EQ(QUERY(.count = UINT32_MAX), EINVAL);
	EXPECT_EQ(QUERY(.offset = 4096), EINVAL);
	EXPECT_EQ(QUERY(.offset = 1ull << 63), EINVAL);
	EXPECT_EQ(QUERY(.offset = INT64_MAX - INT64_MAX % SLICE, .count = 2), EINVAL);
	EXPECT_EQ(QUERY(.results = 0), EFAULT);
	EXPECT_EQ(QUERY(.results = UINT64_MAX), EFAULT);
	EXPECT_EQ(QUERY(.results = 0xffff888000000000ul), EFAULT);
	EXPECT_EQ(QUERY(.results = (uintptr_t)last + PAGE - sizeof(result), .count = 2), EFAULT);
#define REVOKE(count_, off, len, ...)                                                                \
	({                                                                                           \
		struct pinfold_revoke a = {                                                          \
			.size = sizeof(a), .ranges = (uintptr_t)&range, .count = count_, __VA_ARGS__ \
		};                                                                                   \
		range = (struct pinfold_range){ .offset = off, .length = len };                      \
		errno_of(ioctl(region, PINFOLD_IOC_REVOKE, &a));                                     \
	})
	EXPECT_EQ(REVOKE(1, 0, PAGE), 0);
	EXPECT_EQ(REVOKE(1, 0, 0), 0);
	EXPECT_EQ(REVOKE(1, 1ull << 50, PAGE), 0);
	EXPECT_EQ(REVOKE(0, 0, PAGE), EINVAL);
	EXPECT_EQ(REVOKE(UINT32_MAX, 0, PAGE), EINVAL);
	EXPECT_EQ(REVOKE(1, 1, PAGE), EINVAL);
	EXPECT_EQ(REVOKE(1, 0, 1), EINVAL);
	EXPECT_EQ(REVOKE(1, 0, (1ull << 30) + PAGE), EINVAL);
	EXPECT_EQ(REVOKE(1, UINT64_MAX - PAGE + 1, PAGE), EINVAL);
	EXPECT_EQ(REVOKE(1, 0, UINT64_MAX - PAGE + 1), EINVAL);
	EXPECT_EQ(REVOKE(1, 0, PAGE, .flags = 1), EINVAL);
	EXPECT_EQ(REVOKE(1, 0, PAGE, .__reserved = 1), EINVAL);
	EXPECT_EQ(REVOKE(1, 0, PAGE, .ranges = 0), EFAULT);
	EXPECT_EQ(REVOKE(1, 0, PAGE, .ranges = 0xffff888000000000ul), EFAULT);
	EXPECT_EQ(errno_of(region_register(self->device, fd, 20, 0, 0)), EINVAL);
	EXPECT_EQ(errno_of(region_register(self->device, fd, 41, 0, 0)), EINVAL);
	EXPECT_EQ(errno_of(region_register(self->device, fd, UINT32_MAX, 0, 0)), EINVAL);
	EXPECT_EQ(errno_of(region_register(self->device, fd, 21, 2, 0)), EINVAL);
	EXPECT_EQ(errno_of(region_register(self->device, fd, 21, 0, UINT64_MAX)), EFBIG);
	EXPECT_EQ(errno_of(region_register(self->device, fd, 21, 0, INT64_MAX)), EFBIG);
	EXPECT_EQ(errno_of(ioctl(self->device, _IO(PINFOLD_IOC_MAGIC, 99), 0)), ENOTTY);
	EXPECT_EQ(errno_of(ioctl(region, _IO(PINFOLD_IOC_MAGIC, 99), 0)), ENOTTY);
	EXPECT_EQ(errno_of(ioctl(self->device, _IO('x', 2), 0)), ENOTTY);
	EXPECT_EQ(ioctl(self->device, PINFOLD_IOC_VERSION), PINFOLD_ABI_VERSION);
	/* The filesystem's own calls still work. */
	{
		long flags = 0;

		EXPECT_EQ(ioctl(region, _IOR('f', 1, long), &flags), 0);
	}
}

TEST_F(access, a_longer_argument_of_zeros_is_taken)
{
	struct {
		struct pinfold_info info;
		uint64_t more;
	} arg = {.info.size = sizeof(arg)};
	int region = region_register(self->device, open("access.root", O_RDONLY), 21, 0, 0);

	ASSERT_EQ(ioctl(region, PINFOLD_IOC_INFO, &arg), 0);
	EXPECT_EQ(arg.info.slice_count, SIZE / SLICE);
	EXPECT_EQ(arg.info.slice_shift, 21);
}

TEST_HARNESS_MAIN
