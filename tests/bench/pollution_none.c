/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pollution_none.c - in place of pollution_pinfold.c where the library is not built.
 */
#include "pollution.h"

#include <errno.h>

int pollution_pinfold_prepare(const struct pollution_params *params)
{
	(void)params;
	return -ENOTSUP;
}

int pollution_pinfold_cool(const struct pollution_params *params)
{
	(void)params;
	return -ENOTSUP;
}

int pollution_pinfold_run(void *params, void *result)
{
	(void)params;
	(void)result;
	return -ENOTSUP;
}
