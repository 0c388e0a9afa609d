/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any bytes as configuration: read without harm; a refusal has words; what is accepted is written so that it reads back
 * as the same, and the engine takes it.
 *
 * Input: one byte (its last two bits: 1 assignments of a command line, 2 an environment, else a file), then the text;
 * words are lines.
 */
#include "fuzz.h"

#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 64

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

static void read_words(struct pf_config *config, char *text, bool environment)
{
	char *words[WORDS_MAX + 1], *place = NULL;
	size_t count = 0;

	for (char *word = strtok_r(text, "\n", &place); word && count < WORDS_MAX; word = strtok_r(NULL, "\n", &place))
		words[count++] = word;
	words[count] = NULL;
	if (environment)
		pf_config_set_environment(config, words);
	for (size_t i = 0; !environment && i < count; i++)
		pf_config_set_assignment(config, words[i]);
}

static void check_problems(struct pf_config *config, size_t count)
{
	const struct pf_config_problem *problems = pf_config_problems(config, &count);

	for (size_t i = 0; i < count && i < PF_CONFIG_PROBLEMS_MAX; i++)
		if (!problems[i].where || !problems[i].text || !problems[i].text[0] ||
		    (problems[i].line == 0) != (problems[i].column == 0))
			abort();
}

/* All keys, written and read again. */
static void check_again(const struct pf_config *config)
{
	char path[PF_CONFIG_TEXT_MAX], *text = NULL;
	struct pf_config *again;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (size_t i = 0; i < pf_config_key_count; i++) {
		char *value = pf_config_value_text(config, &pf_config_keys[i]);

		fprintf(out, "%s = %s\n", pf_config_path(&pf_config_keys[i], path), value);
		free(value);
	}
	fclose(out);
	if (pf_config_new(&again) || (size <= PF_CONFIG_FILE_MAX && pf_config_set_text(again, "again", text, size))) {
		fprintf(stderr, "%s", text);
		abort();
	}
	for (size_t i = 0; size <= PF_CONFIG_FILE_MAX && i < pf_config_key_count; i++)
		if (!pf_config_same(config, again, &pf_config_keys[i]))
			abort();
	pf_config_free(again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pinfold_config fields, complete;
	struct pf_config *config;
	size_t problems;
	char *text;

	if (size < 1 || pf_config_new(&config))
		return 0;
	text = malloc(size);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	if ((data[0] & 3) == 1 || (data[0] & 3) == 2)
		read_words(config, text, (data[0] & 3) == 2);
	else
		pf_config_set_text(config, "fuzz.toml", text, size - 1);
	pf_config_check(config);
	pf_config_problems(config, &problems);
	check_problems(config, problems);
	if (!problems) {
		check_again(config);
		pf_config_fill(config, &fields);
		if (pf_config_complete(&fields, &complete) < 0)
			abort();
	}
	pf_config_free(config);
	free(text);
	return 0;
}
