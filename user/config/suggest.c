// SPDX-License-Identifier: LGPL-2.1-or-later
/* suggest.c - the nearest of a few names to a mistyped one. */
#include "config/suggest.h"

#include <string.h>

#define NAME_MAX_COMPARED 96

static int min3(int a, int b, int c)
{
	int m = a < b ? a : b;

	return m < c ? m : c;
}

/* Edits (insert, delete, change, swap of neighbours) from @a to @b. */
static int distance(const char *a, const char *b)
{
	int rows[3][NAME_MAX_COMPARED + 1];
	int la = (int)strlen(a), lb = (int)strlen(b);

	if (la > NAME_MAX_COMPARED || lb > NAME_MAX_COMPARED)
		return NAME_MAX_COMPARED;
	for (int j = 0; j <= lb; j++)
		rows[0][j] = j;
	for (int i = 1; i <= la; i++) {
		int *cur = rows[i % 3], *prev = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];

		cur[0] = i;
		for (int j = 1; j <= lb; j++) {
			cur[j] = min3(prev[j] + 1, cur[j - 1] + 1, prev[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < cur[j])
				cur[j] = before[j - 2] + 1;
		}
	}
	return rows[la % 3][lb];
}

const char *suggest_nearest(const char *typed, const char *const *names, size_t count)
{
	const char *best = NULL;
	int best_distance = 3;

	for (size_t i = 0; i < count; i++) {
		const size_t size = strlen(names[i]), typed_size = strlen(typed);
		const size_t longer = size > typed_size ? size - typed_size : typed_size - size;
		/* so many edits it takes at least */
		int d = longer < (size_t)best_distance ? distance(typed, names[i]) : best_distance;

		/* A typed beginning of a name is near it, however long the rest. */
		if (d > 1 && typed_size >= 3 && !strncmp(names[i], typed, typed_size))
			d = 1;
		if (d < best_distance && d < (int)size) {
			best = names[i];
			best_distance = d;
		}
	}
	return best;
}
