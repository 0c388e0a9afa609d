/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* settings.h - the configuration of this run: built-in values, profile, file, environment, command line. */
#ifndef PF_TOOLS_SETTINGS_H
#define PF_TOOLS_SETTINGS_H

#include "cli.h"
#include "config/config.h"

#define SETTINGS_FILE "/etc/pinfold/pinfold.toml"

/**
 * Everything that this run is told, with FILE in place of the file that would be looked for (NULL: --config,
 * PINFOLD_CONFIG, SETTINGS_FILE if it is there). What is wrong is left in the config. The caller frees it.
 * CLI_OK; CLI_USAGE if something is wrong with --set, CLI_FAILURE if only with anything else (*ret_config is there both
 * times); CLI_FAILURE if memory is short (then it is NULL). A profile that is none ends the process with CLI_USAGE.
 */
int settings_read(struct cli *cli, const char *file, struct pf_config **ret_config);
/** Prints what is wrong, one problem a line. */
void settings_complain(struct cli *cli, struct pf_config *config);
/** What a store is to be opened with. Says what is wrong. Loaded once per run. */
int settings_open_config(struct cli *cli, struct pinfold_config *ret_config);
/** mmap.data_dir, or NULL if there is none. Says what is wrong. Lives as long as the process. */
int settings_data_dir(struct cli *cli, const char **ret_dir);

#endif
