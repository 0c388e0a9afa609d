/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fill.c - from keys to what pinfold_open() is told.
 */
#include "config/internal.h"

#include <math.h>
#include <string.h>

static const struct pf_config_value *value_at(const struct pf_config *config, const char *path)
{
	const struct pf_config_key *by;
	enum pf_config_layer layer;

	return &pf_config_effective(config, pf_config_find(path), &layer, &by)->value;
}

static uint64_t field_of(const struct pf_config_key *key, const struct pf_config_value *value)
{
	switch (key->type) {
	case PF_CONFIG_BOOL:
		return key->inverted ? !value->number : value->number;
	case PF_CONFIG_TIME: /* fields count in the unit of the key */
		return value->number / key->unit;
	case PF_CONFIG_RATIO:
	case PF_CONFIG_FACTOR: /* fields are whole percents, at least 1 */
		return value->real < 0.01 ? 1 : (uint64_t)lround(value->real * 100);
	default:
		return value->number;
	}
}

void pf_config_fill(const struct pf_config *config, struct pinfold_config *ret_config)
{
	struct pinfold_config filled = { .size = sizeof(filled) };

	for (size_t i = 0; i < pf_config_key_count; i++) {
		const struct pf_config_key *key = &pf_config_keys[i];
		const struct pf_config_key *by;
		enum pf_config_layer layer;
		uint64_t field;

		if (!key->size)
			continue;
		/* little-endian, as the formats on disk: the low bytes of a field are its value */
		field = field_of(key, &pf_config_effective(config, key, &layer, &by)->value);
		memcpy((char *)&filled + key->offset, &field, key->size);
	}
	if (!value_at(config, "numa.enabled")->number || value_at(config, "numa.memory_migration")->number == 0)
		filled.no_migration = true;
	if (filled.source == PINFOLD_SOURCE_AUTO && (!value_at(config, "monitoring.enabled")->number ||
						     !value_at(config, "monitoring.page_fault_tracking")->number))
		filled.source = PINFOLD_SOURCE_PROCFS;
	*ret_config = filled;
}
