/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * reason.c - policy's reasons in words.
 */
#include <pinfold/live.h>

const char *pinfold_reason_text(enum pinfold_reason reason)
{
	static const char *const texts[PINFOLD_REASON_COUNT] = {
		[PINFOLD_REASON_NONE] = "not looked at yet",
		[PINFOLD_REASON_HOT] = "its heat is above the pin threshold",
		[PINFOLD_REASON_TAIL_HOT] = "its heat is above the tail-latency threshold",
		[PINFOLD_REASON_SPIKE] = "its fault rate is above the spike threshold",
		[PINFOLD_REASON_EXPLICIT] = "the program asked for it",
		[PINFOLD_REASON_RENEWED] = "its pin time ran out and its heat earned it a new one",
		[PINFOLD_REASON_COLD] = "its heat is below the pin threshold",
		[PINFOLD_REASON_UNSURE] = "too little was seen of it to be sure",
		[PINFOLD_REASON_SEQUENTIAL] =
			"it is read in sequence, where readahead serves and pinning saves nothing",
		[PINFOLD_REASON_NO_STALLS] = "reads of the store do not stall, so there is nothing to save",
		[PINFOLD_REASON_BUDGET] = "hotter slices use the pin budget",
		[PINFOLD_REASON_CLASS_BUDGET] = "the share of its priority class is used",
		[PINFOLD_REASON_EXPIRED] = "its pin time ran out and its heat did not earn it a new one",
		[PINFOLD_REASON_EVICTED_COLDER] = "it made room for a hotter slice",
		[PINFOLD_REASON_PRESSURE] = "memory or the pin budget is under pressure",
		[PINFOLD_REASON_REFUSED] = "the kernel refused to lock it",
		[PINFOLD_REASON_DROPPED] = "its extent was dropped",
		[PINFOLD_REASON_RANDOM_MISSES] = "it is read at random, where readahead around a miss is wasted",
		[PINFOLD_REASON_ADAPTIVE_OFF] = "adaptive pinning is off and the program did not ask for it",
	};

	return (unsigned)reason < PINFOLD_REASON_COUNT ? texts[reason] : "unknown reason";
}
