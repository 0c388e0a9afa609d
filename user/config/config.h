/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * config.h - configuration as people write it: a table of keys, and layers of values for them.
 *
 * Every key has one row in the table (keys.c); reading files, the environment and the command line, checking,
 * showing and the man page are driven by it. Values come in layers, and the highest that names a key wins:
 *
 *     built-in  <  profile  <  file  <  environment  <  command line
 *
 * Nothing here prints. One thread at a time per struct pf_config.
 */
#ifndef PF_CONFIG_H
#define PF_CONFIG_H

#include <pinfold/config.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PF_CONFIG_TEXT_MAX 256 /* of a value's or a range's words; longer ones are cut */
#define PF_CONFIG_FILE_MAX (1u << 20)
#define PF_CONFIG_PROBLEMS_MAX 100 /* what is wrong beyond that is counted only */

/* ---- the table ---- */

enum pf_config_type {
	PF_CONFIG_BOOL,
	PF_CONFIG_SIZE,    /* bytes; a bare number counts in the key's unit */
	PF_CONFIG_TIME,    /* milliseconds; likewise */
	PF_CONFIG_COUNT,   /* a whole number; K, M, G are powers of 1000 */
	PF_CONFIG_PERCENT, /* a whole number, or "40%" */
	PF_CONFIG_RATIO,   /* 0 to 1, or "85%" */
	PF_CONFIG_FACTOR,  /* a number that need not be whole */
	PF_CONFIG_CHOICE,
	PF_CONFIG_TEXT,
	PF_CONFIG_LIST,  /* of texts */
	PF_CONFIG_NODES, /* a list of whole numbers */
};

/** One key. Static. */
struct pf_config_key {
	const char *section; /* "io_ring", "pin_management.global_budget" */
	const char *name;
	enum pf_config_type type;
	bool effective; /* false: accepted and checked, but its feature is still to come */
	bool power_of_two;
	uint64_t unit;         /* of a bare number, in bytes or milliseconds */
	const char *unit_name; /* "GiB"; NULL: none is in the key's name */
	uint64_t step;         /* allowed values are its multiples */
	double min, max;       /* PERCENT in percent; RATIO and FACTOR as they are; of a BOOL min 1: only true */
	const char *zero;      /* the word for 0, where there is one: "auto"; 0 is allowed then, whatever min is */
	const char *choices;   /* of a CHOICE: "sync|async|none"; one with ~ before it is not yet effective */
	const char *initial;   /* the built-in value, as on a command line */
	const char *same;      /* path of the key that names the same thing, or NULL */
	const char *doc;       /* one sentence */
	/* where an effective key goes in struct pinfold_config; size 0: fill.c looks at it by name */
	uint32_t offset, size;
	bool inverted; /* of a BOOL: the field says "no_..." */
};

extern const struct pf_config_key pf_config_keys[];
extern const size_t pf_config_key_count;

/** "section.name" of @key into @buf of PF_CONFIG_TEXT_MAX bytes; its environment variable; what it allows, in words. */
const char *pf_config_path(const struct pf_config_key *key, char *buf);
const char *pf_config_variable(const struct pf_config_key *key, char *buf);
const char *pf_config_allowed(const struct pf_config_key *key, char *buf);
/** The key of @path, or NULL. */
const struct pf_config_key *pf_config_find(const char *path);

/** Name and sentence of profile @index, or NULL behind the last. */
const char *pf_config_profile_name(size_t index);
const char *pf_config_profile_doc(size_t index);

/* ---- values in layers ---- */

enum pf_config_layer {
	PF_CONFIG_BUILTIN,
	PF_CONFIG_PROFILE,
	PF_CONFIG_FILE,
	PF_CONFIG_ENVIRONMENT,
	PF_CONFIG_COMMAND_LINE,
	PF_CONFIG_LAYER_COUNT,
};

struct pf_config;

/** All keys at their built-in values. -ENOMEM. */
int pf_config_new(struct pf_config **ret_config);
/** NULL is allowed. */
void pf_config_free(struct pf_config *config);

/*
 * Each of these sets what one layer says, in any order. They return 0, -EINVAL after adding problems (what is sound is
 * taken all the same), or -ENOMEM.
 */

/** One of the profiles. -EINVAL also if there is none of that name. */
int pf_config_set_profile(struct pf_config *config, const char *name);
/** The file at @path; -errno with a problem if it cannot be read. Of several the last one counts. */
int pf_config_set_file(struct pf_config *config, const char *path);
/** @size bytes of TOML that errors call @name. */
int pf_config_set_text(struct pf_config *config, const char *name, const char *text, size_t size);
/**
 * Variables of @environment (as environ) whose names are those of keys. One that is a slip of the pen away from a key's
 * is a problem; others beginning with PINFOLD_ are somebody else's.
 */
int pf_config_set_environment(struct pf_config *config, char *const *environment);
/** "section.name=value", from a command line. */
int pf_config_set_assignment(struct pf_config *config, const char *assignment);

/** The profile that the file asks for with "profile = ...", or NULL. Owned by @config. */
const char *pf_config_file_profile(const struct pf_config *config);

/**
 * Looks for keys that contradict each other. Those of which a layer may mean something that was not understood are left
 * out, so that it is of use whatever was wrong before. 0, or -EINVAL after adding problems. Once, after all layers.
 */
int pf_config_check(struct pf_config *config);

/** One thing that is wrong. Owned by the config; valid until it is freed. */
struct pf_config_problem {
	const char *where;     /* a file, a variable, "--set", a profile */
	uint32_t line, column; /* 0: not in a file */
	const char *text;      /* what was found and what is allowed */
};
/** In the order of places. *ret_count: how many there are, of which at most PF_CONFIG_PROBLEMS_MAX are in the list. */
const struct pf_config_problem *pf_config_problems(struct pf_config *config, size_t *ret_count);

/** Where the effective value of a key comes from. */
struct pf_config_origin {
	enum pf_config_layer layer;
	const char *name;      /* of the profile, file or variable; NULL for built-in values. Owned by the config */
	uint32_t line, column; /* of a file */
	const struct pf_config_key *by; /* the key that was set: this one, or the one that names the same thing */
};
void pf_config_origin(const struct pf_config *config, const struct pf_config_key *key,
		      struct pf_config_origin *ret_origin);
/** "/etc/pinfold/pinfold.toml:3", "profile production", ... into @buf of PF_CONFIG_TEXT_MAX bytes. */
const char *pf_config_origin_text(const struct pf_config_origin *origin, char *buf);

/** The effective value as TOML: 32, "64MiB", ["a", "b"]. Allocated, the caller frees it. NULL: no memory. */
char *pf_config_value_text(const struct pf_config *config, const struct pf_config_key *key);
/** True, or false and why not: the feature is still to come, for this key or for the value it has. */
bool pf_config_is_effective(const struct pf_config *config, const struct pf_config_key *key);
/** Whether @a and @b have the same effective value of @key. */
bool pf_config_same(const struct pf_config *a, const struct pf_config *b, const struct pf_config_key *key);

/** The text of a TEXT key, "" if it is empty. Owned by @config. */
const char *pf_config_string(const struct pf_config *config, const char *path);

/** What pinfold_open() is to be told: every effective key in its field, all else zero. The config was checked. */
void pf_config_fill(const struct pf_config *config, struct pinfold_config *ret_config);

#ifdef __cplusplus
}
#endif
#endif
