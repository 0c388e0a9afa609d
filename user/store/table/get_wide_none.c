/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * get_wide_none.c - in place of get_wide.c where the compiler does not know such processors.
 */
#include "store/table/internal.h"

bool pf_get_wide(pf_get_fn **ret_get, pf_batch_fn **ret_batch)
{
	return false;
}
