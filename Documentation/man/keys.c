/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * keys.c - writes the man page of the configuration file: stdin with the line @KEYS@ replaced by every key of the
 * table, and @PROFILES@ by the profiles.
 */
#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* scdoc takes _ and * for emphasis. */
static void put(const char *text)
{
	for (; *text; text++) {
		if (strchr("_*\\~`", *text))
			putchar('\\');
		putchar(*text);
	}
}

static void put_key(const struct pf_config *config, const struct pf_config_key *key)
{
	char *value = pf_config_value_text(config, key);
	char buf[PF_CONFIG_TEXT_MAX];

	if (!value)
		exit(1);
	printf("*%s*", key->name);
	printf("\n\t");
	put(key->doc);
	printf(" Allowed: ");
	put(pf_config_allowed(key, buf));
	printf(". Built-in: ");
	put(value);
	printf(". ");
	put(pf_config_variable(key, buf));
	printf(".%s\n\n", key->effective ? "" : " Not yet effective.");
	free(value);
}

static void put_later_values(const struct pf_config_key *key)
{
	char path[PF_CONFIG_TEXT_MAX];
	const char *at = key->choices;

	if (!key->effective || !at || !strchr(at, '~'))
		return;
	printf("- ");
	put(pf_config_path(key, path));
	printf(":");
	for (; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
		if (*at == '~') {
			printf(" ");
			snprintf(path, sizeof(path), "\"%.*s\"", (int)strcspn(at + 1, "|"), at + 1);
			put(path);
		}
	printf("\n");
}

static void put_keys(const struct pf_config *config)
{
	const char *section = "";

	for (size_t i = 0; i < pf_config_key_count; i++) {
		if (strcmp(section, pf_config_keys[i].section)) {
			section = pf_config_keys[i].section;
			printf("## [");
			put(section);
			printf("]\n\n");
		}
		put_key(config, &pf_config_keys[i]);
	}
	printf("Values that are not yet effective of keys that are:\n\n");
	for (size_t i = 0; i < pf_config_key_count; i++)
		put_later_values(&pf_config_keys[i]);
	printf("\n");
}

static void put_profiles(void)
{
	for (size_t i = 0; pf_config_profile_name(i); i++)
		printf("*%s*\n\t%s\n\n", pf_config_profile_name(i), pf_config_profile_doc(i));
}

int main(void)
{
	struct pf_config *config;
	char line[4096];

	if (pf_config_new(&config))
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "@KEYS@\n"))
			put_keys(config);
		else if (!strcmp(line, "@PROFILES@\n"))
			put_profiles();
		else
			fputs(line, stdout);
	}
	pf_config_free(config);
	return fflush(stdout) || ferror(stdout);
}
