/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * get_wide.c - gets in a still store for processors with AVX-512 and VPCLMULQDQ. Compiled for them: nothing of it runs
 * on others but pf_get_wide(), which asks.
 */
#define PF_WIDE
#include "store/table/batch.h"
#include "store/table/get_still.h"

/* A key of another size than 16. */
static PF_SIGBUS_FUNCTION int wide_any(struct pf_table *table, const void *key, size_t key_size, void *ret_value,
				      size_t capacity, size_t *ret_size)
{
	if (__builtin_expect(key_size - 1 >= PINFOLD_KEY_MAX, 0))
		return pf_key_check(key, key_size);
	return get_still(table, key, key_size, ret_value, capacity, ret_size);
}

static PF_SIGBUS_FUNCTION int wide(struct pf_table *table, const void *key, size_t key_size, void *ret_value,
				    size_t capacity, size_t *ret_size)
{
	if (__builtin_expect(key_size != 16, 0))
		return wide_any(table, key, key_size, ret_value, capacity, ret_size);
	return get_still(table, key, 16, ret_value, capacity, ret_size);
}

static size_t wide_batch(const struct pf_table *table, struct pinfold_get *gets, size_t count)
{
	return batch_run(table, gets, count, true);
}

bool pf_get_wide(pf_get_fn **ret_get, pf_batch_fn **ret_batch)
{
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
	    !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl") ||
	    !__builtin_cpu_supports("vpclmulqdq") || !__builtin_cpu_supports("bmi2"))
		return false;
	*ret_get = wide;
	*ret_batch = wide_batch;
	return true;
}
