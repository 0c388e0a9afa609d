// SPDX-License-Identifier: GPL-2.0-only
/*
 * region.c - making a region, its end, and its calls.
 */
#include <linux/atomic.h>
#include <linux/capability.h>
#include <linux/compat.h>
#include <linux/file.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "region.h"
#include "trace.h"

static atomic_t region_ids = ATOMIC_INIT(0);

int pf_arg_get(void *arg, size_t size, size_t size_min, const void __user *from)
{
	u32 theirs;
	int r;

	if (get_user(theirs, (const u32 __user *)from))
		return -EFAULT;
	if (theirs < size_min)
		return -EINVAL;
	if (theirs > PAGE_SIZE)
		return -E2BIG;
	r = copy_struct_from_user(arg, size, from, theirs);
	if (r)
		return r;
	/* It may have changed meanwhile: the one that was checked counts. */
	*(u32 *)arg = theirs;
	return 0;
}

int pf_arg_put(void __user *to, const void *arg, size_t size)
{
	return copy_to_user(to, arg, min_t(size_t, *(const u32 *)arg, size)) ? -EFAULT : 0;
}

bool pf_region_may_look(struct pf_region *region)
{
	return pf_file_owner(region->file) || !file_permission(region->file, MAY_WRITE);
}

static int region_info(struct pf_region *region, void __user *to)
{
	struct pinfold_info info;
	int r = pf_arg_get(&info, sizeof(info), sizeof(info), to);

	if (r)
		return r;
	if (info.flags)
		return -EINVAL;
	info = (struct pinfold_info){
		.size = info.size,
		.slice_shift = region->slice_shift + PAGE_SHIFT,
		.register_flags = region->flags,
		.slice_count = region->slice_count,
		.slot_bytes = atomic64_read(&region->bytes),
		.lost = atomic64_read(&region->lost),
	};
	return pf_arg_put(to, &info, sizeof(info));
}

static long region_call(struct pf_region *region, unsigned int cmd, void __user *arg)
{
	switch (_IOC_NR(cmd)) {
	case _IOC_NR(PINFOLD_IOC_SLOTS):
		return pf_slots_open(region);
	case _IOC_NR(PINFOLD_IOC_INFO):
		return region_info(region, arg);
	case _IOC_NR(PINFOLD_IOC_SCAN):
		return pf_query(region, false, arg);
	case _IOC_NR(PINFOLD_IOC_AGE):
		return pf_query(region, true, arg);
	case _IOC_NR(PINFOLD_IOC_REVOKE):
		return pf_revoke(region, arg);
	default:
		return -ENOTTY;
	}
}

/* Only called through region->fops, by whose place the region is found. */
struct pf_region *pf_region_of(struct file *file)
{
	return container_of(file->f_op, struct pf_region, fops);
}

static long region_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct pf_region *region = pf_region_of(file);

	if (_IOC_TYPE(cmd) == PINFOLD_IOC_MAGIC)
		return region_call(region, cmd, (void __user *)arg);
	return region->fs_fops->unlocked_ioctl ? region->fs_fops->unlocked_ioctl(file, cmd, arg) : -ENOTTY;
}

#ifdef CONFIG_COMPAT
static long region_compat_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct pf_region *region = pf_region_of(file);

	if (_IOC_TYPE(cmd) == PINFOLD_IOC_MAGIC)
		return region_call(region, cmd, compat_ptr(arg));
	return region->fs_fops->compat_ioctl ? region->fs_fops->compat_ioctl(file, cmd, arg) : -ENOIOCTLCMD;
}
#endif

static void region_free(struct pf_region *region)
{
	pf_slots_done(region);
	pf_user_put(region->user);
	kfree(region);
}

/* The last reference is gone: nobody else has the file, and no mapping or fault can still use the region. */
static int region_release(struct inode *inode, struct file *file)
{
	struct pf_region *region = pf_region_of(file);
	const struct file_operations *fs_fops = region->fs_fops;
	int r = fs_fops->release ? fs_fops->release(inode, file) : 0;

	pf_debug_remove(region);
	trace_pinfold_release(region->id);
	/* The caller reads f_op once more, to drop the reference that opening took. */
	file->f_op = fs_fops;
	region_free(region);
	/* What of this function is still to run is waited for at unloading. */
	module_put(THIS_MODULE);
	return r;
}

/* Files have one of two ways to be mapped, and as of now ours instead. */
static bool own_mmap(struct file_operations *fops)
{
#ifdef PF_HAVE_MMAP_PREPARE
	if (fops->mmap_prepare) {
		fops->mmap_prepare = pf_mmap_prepare;
		return true;
	}
#endif
	if (!fops->mmap)
		return false;
	fops->mmap = pf_mmap;
	return true;
}

/* Puts the copy of the operations with ours in it into a file that nobody else has yet. */
static int region_own(struct pf_region *region, struct file *file)
{
	region->fops = *file->f_op;
	if (!own_mmap(&region->fops))
		return -EOPNOTSUPP;
	region->fops.owner = THIS_MODULE;
	region->fops.unlocked_ioctl = region_ioctl;
#ifdef CONFIG_COMPAT
	region->fops.compat_ioctl = region_compat_ioctl;
#endif
	region->fops.release = region_release;
	region->fs_fops = file->f_op;
	region->file = file;
	__module_get(THIS_MODULE);
	file->f_op = &region->fops;
	return 0;
}

/*
 * Other filesystems may do more in their vm_ops, and memfd's seals would be got round. The name rather than
 * the magic number: ext2 and ext4 share that.
 */
static int check_file(struct file *file)
{
	struct inode *inode = file_inode(file);
	const char *type = inode->i_sb->s_type->name;

	if (!(file->f_mode & FMODE_READ))
		return -EBADF;
	if (!S_ISREG(inode->i_mode))
		return -EINVAL;
	if (strcmp(type, "ext4") && strcmp(type, "xfs"))
		return -EOPNOTSUPP;
	if (IS_DAX(inode) || IS_SWAPFILE(inode))
		return -EOPNOTSUPP;
	return 0;
}

static int check_arg(const struct pinfold_register *arg)
{
	if (arg->flags & ~PINFOLD_REGISTER_LATENCY || arg->__reserved[0] || arg->__reserved[1])
		return -EINVAL;
	if (arg->slice_shift < PINFOLD_SLICE_SHIFT_MIN || arg->slice_shift > PINFOLD_SLICE_SHIFT_MAX)
		return -EINVAL;
	if (arg->length > MAX_LFS_FILESIZE)
		return -EFBIG;
	return 0;
}

static struct pf_region *region_new(struct pinfold_register *arg, struct inode *inode)
{
	struct pf_region *region;
	/* Of a file that others may be writing: the kernel sets it by a plain write on 64-bit machines. */
	u64 length = arg->length ? arg->length : data_race(i_size_read(inode));
	int r;

	arg->slice_count = (length + (1ULL << arg->slice_shift) - 1) >> arg->slice_shift;
	if (arg->slice_count > PINFOLD_SLICES_MAX)
		return ERR_PTR(-EFBIG);
	region = kzalloc(sizeof(*region), GFP_KERNEL_ACCOUNT);
	if (!region)
		return ERR_PTR(-ENOMEM);
	region->slice_shift = arg->slice_shift - PAGE_SHIFT;
	region->slice_mask = (1ULL << region->slice_shift) - 1;
	region->slice_count = arg->slice_count;
	region->flags = arg->flags;
	region->nodes = num_online_nodes() > 1;
	region->plain = !region->nodes && !(region->flags & PINFOLD_REGISTER_LATENCY);
	region->unlimited = capable(CAP_SYS_RESOURCE);
	region->id = atomic_inc_return(&region_ids);
	INIT_LIST_HEAD(&region->node);
	region->user = pf_user_get(current_euid(), region->unlimited);
	if (IS_ERR(region->user)) {
		r = PTR_ERR(region->user);
		kfree(region);
		return ERR_PTR(r);
	}
	r = pf_slots_init(region);
	if (r) {
		region_free(region);
		return ERR_PTR(r);
	}
	return region;
}

/* Opens the file anew, as a region. */
static struct file *region_open(struct pinfold_register *arg, struct file *like)
{
	struct pf_region *region = region_new(arg, file_inode(like));
	struct file *file;
	int r;

	if (IS_ERR(region))
		return ERR_CAST(region);
	file = dentry_open(&like->f_path, like->f_flags & (O_ACCMODE | O_LARGEFILE | O_NOATIME), current_cred());
	if (IS_ERR(file)) {
		region_free(region);
		return file;
	}
	r = region_own(region, file);
	if (r) {
		fput(file);
		region_free(region);
		return ERR_PTR(r);
	}
	pf_debug_add(region);
	trace_pinfold_register(region, file_inode(file));
	return file;
}

int pf_region_register(void __user *to)
{
	struct pinfold_register arg;
	struct file *like, *file;
	int fd, r = pf_arg_get(&arg, sizeof(arg), sizeof(arg), to);

	if (!r)
		r = check_arg(&arg);
	if (r)
		return r;
	like = fget(arg.fd);
	if (!like)
		return -EBADF;
	r = check_file(like);
	if (r)
		goto out_like;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		r = fd;
		goto out_like;
	}
	file = region_open(&arg, like);
	if (IS_ERR(file)) {
		r = PTR_ERR(file);
		goto err_fd;
	}
	r = pf_arg_put(to, &arg, sizeof(arg));
	if (r)
		goto err_file;
	fd_install(fd, file);
	r = fd;
	goto out_like;

err_file:
	fput(file);
err_fd:
	put_unused_fd(fd);
out_like:
	fput(like);
	return r;
}
