/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes real structures as inputs for the fuzz targets: fuzz_seed TARGET DIRECTORY.
 */
#include "config/config.h"
#include "store/record.h"
#include "store/super.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *directory;

static void put(const char *name, const void *data, size_t size)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
		perror(path);
		exit(1);
	}
}

static void seed_super(void)
{
	static struct { uint8_t flags; struct pf_super_disk copies[2]; } __attribute__((packed)) input;
	struct pf_super_disk super = {
		.sequence = 6,
		.file_size = PF_FILE_SIZE_MIN,
		.extent_size = 2u << 20,
		.file_count = 2,
		.root_offset = PF_GRANULE_SIZE,
		.root_gen = 1,
		.start_lsn = 4096,
		.start_pos = 8192,
		.start_group = 3,
		.epoch = 1,
		.journal_generation = 1,
		.segment_size = 4u << 20,
		.segment_count = 4,
		.next_txn_id = 9,
	};

	for (int i = 0; i < 2; i++) {
		super.sequence++;
		pf_super_seal(&super);
		input.copies[i] = super;
	}
	put("both", &input, sizeof(input));
	input.flags = 3;
	put("sealed", &input, sizeof(input));
	input.flags = 4;
	put("short", &input, 1 + PF_BLOCK_SIZE);
}

static size_t add_record(uint8_t *at, uint64_t lsn, unsigned ranges)
{
	struct pf_record_header header = { .range_count = ranges, .length = sizeof(header) };

	for (unsigned i = 0; i < ranges; i++) {
		struct pf_record_range range = { .offset = 4096 + i * 900, .file_id = i % 2, .length = 5 + i * 37 };

		memcpy(at + header.length, &range, sizeof(range));
		memset(at + header.length + sizeof(range), 'r', range.length);
		header.length += sizeof(range) + pf_record_pad(range.length);
	}
	memcpy(at, &header, sizeof(header));
	pf_record_seal_body(at, header.length);
	pf_record_seal(at, lsn, lsn / 8);
	return header.length;
}

static void seed_journal(void)
{
	static const uint8_t uuid[16] = "a store's uuid!";
	static _Alignas(8) uint8_t group[PF_BLOCK_SIZE];
	static uint8_t input[1 + PF_BLOCK_SIZE];
	struct pf_group_header header = { .pos = 8192, .number = 3, .first_lsn = 640 };

	memcpy(header.magic, PF_GROUP_MAGIC, sizeof(header.magic));
	memcpy(header.uuid, uuid, sizeof(header.uuid));
	for (unsigned i = 0; i < 5; i++)
		header.length +=
			add_record(group + sizeof(header) + header.length, header.first_lsn + header.length, i);
	pf_group_seal(&header);
	memcpy(group, &header, sizeof(header));
	memcpy(input + 1, group, sizeof(group));
	put("group", input, sizeof(input));
	for (uint8_t flags = 1; flags < 4; flags++) {
		char name[16];

		input[0] = flags;
		snprintf(name, sizeof(name), "sealed-%u", flags);
		put(name, input, 1 + sizeof(header) + header.length);
	}
}

/* Patches (fuzz.h): a few bytes at every place of a structure of @size bytes. */
static void seed_patches(unsigned selectors, unsigned size, unsigned step)
{
	static const uint8_t bytes[][8] = {
		{ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, { 0 }, { 1 }, { 0, 0, 0, 0x80 }
	};

	for (unsigned selector = 0; selector < selectors; selector++) {
		for (unsigned place = 0; place < size; place += step) {
			uint8_t input[4 + 8] = { (uint8_t)selector, (uint8_t)place, (uint8_t)(place >> 8), 8 };
			char name[32];

			memcpy(input + 4, bytes[place / step % 4], 8);
			snprintf(name, sizeof(name), "%u-%u", selector, place);
			put(name, input, sizeof(input));
		}
	}
}

/* A first byte that says how it is read (fuzz_config.c), then all keys, a section of each profile, and words. */
static void seed_config(void)
{
	static const char *const texts[] = {
		"[mmap]\nfile_size_gb = \"2TB\" # words\n[numa]\nnodes = [0, 1]\npolicy = \"bind\"\n",
		"mmap.file_size_gb=64GB\nnuma.nodes=0,1\nio_ring.cq_multiplier=1.5\n",
		"PINFOLD_MMAP_SYNC_MODE=async\nPINFOLD_NUMA_NODES=0,1\n",
	};
	static char text[32768];
	char path[PF_CONFIG_TEXT_MAX];
	struct pf_config *config;

	for (size_t p = 0; pf_config_profile_name(p); p++) {
		size_t size = 1;

		if (pf_config_new(&config) || pf_config_set_profile(config, pf_config_profile_name(p)))
			exit(1);
		text[0] = 0;
		for (size_t i = 0; i < pf_config_key_count; i++) {
			char *value = pf_config_value_text(config, &pf_config_keys[i]), name[32];
			int n;

			if (!value)
				exit(1);
			pf_config_path(&pf_config_keys[i], path);
			n = snprintf(text + size, sizeof(text) - size, "%s = %s\n", path, value);
			snprintf(name, sizeof(name), "%zu-%zu", p, i);
			if (i % 4 == p)
				put(name, text + size - 1,
				    (size_t)n + 1); /* the byte before is a newline: read as TOML */
			size += (size_t)n;
			free(value);
		}
		put(pf_config_profile_name(p), text, size < 4000 ? size : 4000);
		pf_config_free(config);
	}
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		text[0] = (char)i;
		strcpy(text + 1, texts[i]);
		put(i == 0 ? "table" : i == 1 ? "words" : "variables", text, 1 + strlen(texts[i]));
	}
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	directory = argv[2];
	if (!strcmp(argv[1], "super"))
		seed_super();
	else if (!strcmp(argv[1], "journal"))
		seed_journal();
	else if (!strcmp(argv[1], "recover"))
		seed_patches(8, 192, 8);
	else if (!strcmp(argv[1], "table"))
		seed_patches(32, 160, 16);
	else if (!strcmp(argv[1], "config"))
		seed_config();
	else
		return 2;
	return 0;
}
