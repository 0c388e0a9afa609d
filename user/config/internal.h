/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * internal.h - values and layers, for user/config/ only.
 */
#ifndef PF_CONFIG_INTERNAL_H
#define PF_CONFIG_INTERNAL_H

#include "config/config.h"
#include "config/toml.h"

#define PF_CONFIG_STRING_MAX 4095 /* bytes of a text */
#define PF_CONFIG_ITEMS_MAX 256   /* of a list */

/** What of it counts is said by the key's type. */
struct pf_config_value {
	uint64_t number; /* BOOL, SIZE, TIME, COUNT, PERCENT; of a CHOICE its index */
	double real;     /* RATIO, FACTOR */
	char *text;
	char **items;
	size_t item_count;
};

/** What one layer says of one key. */
struct pf_config_slot {
	bool set;
	bool doubtful; /* it may have said something that was not understood */
	struct pf_config_value value;
	const char *name; /* of the profile, file or variable */
	uint32_t line, column;
};

struct pf_config {
	struct pf_config_slot *slots; /* [layer][key] */
	char **names;                 /* that slots and problems point to */
	size_t name_count;
	char *file_profile;
	struct pf_config_problem problems[PF_CONFIG_PROBLEMS_MAX];
	size_t problem_count; /* may be more than are kept */
};

static inline struct pf_config_slot *pf_config_slot(const struct pf_config *config, enum pf_config_layer layer,
						    const struct pf_config_key *key)
{
	return &config->slots[(size_t)layer * pf_config_key_count + (size_t)(key - pf_config_keys)];
}

/* ---- config.c ---- */

/** The slot that holds the effective value of @key, and whose it is: @key's, or that of the key that is the same. */
const struct pf_config_slot *pf_config_effective(const struct pf_config *config, const struct pf_config_key *key,
						 enum pf_config_layer *ret_layer, const struct pf_config_key **ret_by);
/** A copy of @name that lives as long as @config. NULL: no memory. */
const char *pf_config_keep(struct pf_config *config, const char *name);
/** Adds a problem. Returns -EINVAL, or -ENOMEM. */
int pf_config_problem(struct pf_config *config, const char *where, uint32_t line, uint32_t column, const char *format,
		      ...) __attribute__((format(printf, 5, 6)));

/* ---- names.c ---- */

/** Says that @layer may mean more than was understood for the key or the section of @path; NULL: for all keys. */
void pf_config_doubt(struct pf_config *config, enum pf_config_layer layer, const char *path);
/** Whether @path is a section, or what sections are in. */
bool pf_config_is_section(const char *path);
/** The key whose variable is nearest to @typed, or NULL. */
const struct pf_config_key *pf_config_nearest_variable(const char *typed);
/** Adds the problem that @typed is no key, or no section, with what may have been meant, and doubts that. */
int pf_config_unknown(struct pf_config *config, enum pf_config_layer layer, const char *where, uint32_t line,
		      uint32_t column, bool section, const char *typed);

/* ---- syntax.c ---- */

/**
 * Calls @fn for each item of @size bytes of TOML, as pf_toml_read() does, without what is no TOML. 0; -EINVAL after
 * adding problems for that; -ENOMEM.
 */
int pf_config_read(struct pf_config *config, const char *name, const char *text, size_t size, pf_toml_fn fn, void *ctx);

/* ---- profiles.c ---- */

struct pf_config_profile {
	const char *name, *doc;
	const char *const *assignments; /* "section.name=value", ended by NULL */
};
extern const struct pf_config_profile pf_config_profiles[];
extern const size_t pf_config_profile_count;

/** Their names, as what is allowed, into @buf of PF_CONFIG_TEXT_MAX bytes. */
const char *pf_config_allowed_profiles(char *buf);

/* ---- value.c: one value, as text and as TOML ---- */

/** Reads @text, as on a command line. 0; -EINVAL if it is not what @key allows; -ENOMEM. */
int pf_config_value_parse(const struct pf_config_key *key, const char *text, struct pf_config_value *ret_value);
/** Reads what a file says. As above. */
int pf_config_value_take(const struct pf_config_key *key, const struct pf_toml_item *item,
			 struct pf_config_value *ret_value);
void pf_config_value_done(struct pf_config_value *value);
bool pf_config_value_equal(const struct pf_config_key *key, const struct pf_config_value *a,
			   const struct pf_config_value *b);
/** As TOML. Allocated; NULL: no memory. */
char *pf_config_value_write(const struct pf_config_key *key, const struct pf_config_value *value);
/** Choice @index of @key without its mark into @buf of PF_CONFIG_TEXT_MAX bytes; false behind the last. */
bool pf_config_choice(const struct pf_config_key *key, size_t index, char *buf, bool *ret_effective);

/* ---- words.c: what is said of values ---- */

/** What a file has there: "\"fast\"", "12", "a table". @buf of PF_CONFIG_TEXT_MAX bytes. */
const char *pf_config_item_words(const struct pf_toml_item *item, char *buf);
/** @text in quotes, cut and without control characters. @buf of PF_CONFIG_TEXT_MAX bytes. */
const char *pf_config_quote(const char *text, size_t size, char *buf);
/** The same without quotes. @buf of PF_CONFIG_TEXT_MAX bytes. */
const char *pf_config_plain(const char *text, size_t size, char *buf);
/** The shortest decimal that reads back as @value. @buf of PF_CONFIG_TEXT_MAX bytes. */
const char *pf_config_real(double value, char *buf);

#endif
