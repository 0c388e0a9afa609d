/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table_data.c - the records of bench_table, and in which order they are asked for.
 */
#include "table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ZIPF_EXPONENT 0.99

const char *const table_choice_names[TABLE_CHOICES] = {"uniform", "zipf", "misses"};

void table_value(uint64_t number, uint8_t ret_value[TABLE_VALUE])
{
	uint64_t word = table_value_word(number, 0);

	for (unsigned i = 0; i < TABLE_VALUE / 8; i++, word += 0x9e3779b97f4a7c15ull)
		memcpy(ret_value + (size_t)i * 8, &word, 8);
}

/* Inverse of the distribution, as Gray et al. compute it: "Quickly generating billion-record synthetic databases". */
struct zipf {
	double alpha, zeta, eta, half;
	uint64_t items;
};

static void zipf_init(struct zipf *zipf, uint64_t items)
{
	double zeta = 0, zeta2 = 1 + pow(0.5, ZIPF_EXPONENT);

	for (uint64_t i = 1; i <= items; i++)
		zeta += pow((double)i, -ZIPF_EXPONENT);
	*zipf = (struct zipf){
		.alpha = 1 / (1 - ZIPF_EXPONENT),
		.zeta = zeta,
		.half = zeta2,
		.eta = (1 - pow(2.0 / (double)items, 1 - ZIPF_EXPONENT)) / (1 - zeta2 / zeta),
		.items = items,
	};
}

static uint64_t zipf_next(const struct zipf *zipf, uint64_t *state)
{
	double u = (double)(bench_random(state) >> 11) / 9007199254740992.0, uz = u * zipf->zeta;
	uint64_t rank;

	if (uz < 1)
		return 0;
	if (uz < zipf->half)
		return 1;
	rank = (uint64_t)((double)zipf->items * pow(zipf->eta * u - zipf->eta + 1, zipf->alpha));
	return rank < zipf->items ? rank : zipf->items - 1;
}

struct table_want *table_sequence(enum table_choice choice, uint64_t records, size_t count, uint64_t seed)
{
	struct table_want *wants = malloc(count * sizeof(*wants));
	const uint64_t step = table_step(records);
	uint64_t state = seed;
	struct zipf zipf;

	if (!wants)
		bench_die("out of memory");
	if (choice == TABLE_ZIPF)
		zipf_init(&zipf, records);
	for (size_t i = 0; i < count; i++) {
		uint64_t record = choice == TABLE_ZIPF ? table_mix(zipf_next(&zipf, &state)) % records :
							 bench_random_below(&state, records);

		table_want(2 * record + (choice == TABLE_MISSES), step, &wants[i]);
	}
	return wants;
}
