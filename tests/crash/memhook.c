/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "memhook.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/types.h>

static bool (*allow)(void);

void mem_hook_set(bool (*new_allow)(void))
{
	allow = new_allow;
}

static bool refused(void)
{
	if (!allow || allow())
		return false;
	errno = ENOMEM;
	return true;
}

#define WRAP(type, name, ...) \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

WRAP(void *, malloc, size_t size)
{
	return refused() ? NULL : __real_malloc(size);
}

WRAP(void *, calloc, size_t count, size_t size)
{
	return refused() ? NULL : __real_calloc(count, size);
}

WRAP(void *, realloc, void *memory, size_t size)
{
	return refused() ? NULL : __real_realloc(memory, size);
}

WRAP(void *, aligned_alloc, size_t alignment, size_t size)
{
	return refused() ? NULL : __real_aligned_alloc(alignment, size);
}

WRAP(int, posix_memalign, void **ret_memory, size_t alignment, size_t size)
{
	return refused() ? ENOMEM : __real_posix_memalign(ret_memory, alignment, size);
}

WRAP(void *, mmap, void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
	return refused() ? MAP_FAILED : __real_mmap(address, size, protection, flags, fd, offset);
}
