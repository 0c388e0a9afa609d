// SPDX-License-Identifier: GPL-2.0-only
/*
 * debug.c - /sys/kernel/debug/pinfold/regions: who has which. For diagnosis only; root's, as all of debugfs.
 */
#include <linux/debugfs.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/uidgid.h>

#include "region.h"

static DEFINE_MUTEX(regions_lock);
static LIST_HEAD(regions);
static struct dentry *directory;

static int regions_show(struct seq_file *seq, void *unused)
{
	struct pf_region *region;

	seq_puts(seq, "id uid slice_bytes slices memory_bytes lost path\n");
	mutex_lock(&regions_lock);
	list_for_each_entry(region, &regions, node) {
		seq_printf(seq, "%u %u %llu %llu %lld %lld ", region->id,
			   from_kuid_munged(seq_user_ns(seq), region->user->uid),
			   1ULL << (region->slice_shift + PAGE_SHIFT), region->slice_count,
			   atomic64_read(&region->bytes), atomic64_read(&region->lost));
		seq_file_path(seq, region->file, " \t\n\\");
		seq_putc(seq, '\n');
	}
	mutex_unlock(&regions_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(regions);

void pf_debug_add(struct pf_region *region)
{
	mutex_lock(&regions_lock);
	list_add_tail(&region->node, &regions);
	mutex_unlock(&regions_lock);
}

void pf_debug_remove(struct pf_region *region)
{
	mutex_lock(&regions_lock);
	list_del_init(&region->node);
	mutex_unlock(&regions_lock);
}

/* Without debugfs, or without room in it, there is none: nothing depends on it. */
void pf_debug_init(void)
{
	directory = debugfs_create_dir("pinfold", NULL);
	debugfs_create_file("regions", 0400, directory, NULL, &regions_fops);
}

void pf_debug_done(void)
{
	debugfs_remove(directory);
}
