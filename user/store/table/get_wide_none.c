/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * get_wide_none.c - in place of get_wide.c where the compiler does not know such processors.
 */
#include "store/table/internal.h"

pf_get_fn *pf_get_wide(void)
{
	return NULL;
}
