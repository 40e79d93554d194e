#include "run/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "kernel/mounts.h"

const char *const rootfs_system[ROOTFS_SYSTEM] = {
	"/usr", "/opt", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
};

/* What of the host no bind of the system may show: resolved paths. */
struct hidden {
	char *store;
	struct strv homes;
	struct strv kernel;
};

static void hidden_release(struct hidden *hidden)
{
	free(hidden->store);
	strv_release(&hidden->homes);
	strv_release(&hidden->kernel);
}

static void add_home(struct hidden *hidden, const char *home)
{
	char *resolved = home && home[0] == '/' ? realpath(home, NULL) : NULL;

	if (resolved)
		strv_give(&hidden->homes, resolved);
}

/* The caller's home, whatever the layout, and the one that the sandbox was made with. */
static int find_hidden(const struct sandbox *sandbox, const struct root *store, struct hidden *ret,
		       struct error *err)
{
	ret->store = realpath(store->path, NULL);
	if (!ret->store)
		return error_errno(err, "cannot find %s", store->path);
	add_home(ret, getenv("HOME"));
	add_home(ret, sandbox->home);
	return mount_list_kernel("/", -1, &ret->kernel, err);
}

static const char *relative(const char *path)
{
	return path + strspn(path, "/");
}

/* Opens a directory of the new root, made when it is missing; nothing in the way is followed. */
static int open_directory(int root, const char *path, int *ret, struct error *err)
{
	if (dir_make_path_at(root, relative(path), 0755, ret, err) < 0)
		return error_wrap(err, "cannot prepare %s in the sandbox", path);
	return 0;
}

static int open_file_target(int root, const char *path, int *ret, struct error *err)
{
	const char *slash = strrchr(path, '/');
	autofree char *parent = xstrndup(path, (size_t)(slash - path));
	autofd int dir = -1;

	if (open_directory(root, parent, &dir, err) < 0)
		return -1;
	int fd = open_beneath(dir, slash + 1, O_PATH, 0);

	/* Not opened for writing where it exists: the home's overlay would keep a copy. */
	if (fd < 0 && errno == ENOENT) {
		autofd int made = open_beneath(dir, slash + 1, O_WRONLY | O_CREAT | O_EXCL, 0644);

		fd = made < 0 ? -1 : open_beneath(dir, slash + 1, O_PATH, 0);
	}
	if (fd < 0)
		return error_errno(err, "cannot prepare %s in the sandbox", path);
	*ret = fd;
	return 0;
}

/* A device that cannot be opened takes its place. */
static int cover_file(int target, struct error *err)
{
	autofd int null = open("/dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (null < 0)
		return error_errno(err, "cannot open /dev/null");
	return mount_bind(null, target, BIND_READ_ONLY | BIND_NO_DEVICES, err);
}

/*
 * Covers what lies at `hidden` on the host where a bind of `real` shows it below `path`. A home
 * stays writable: it is where the sandbox has its own, and where targets of binds are made.
 */
static int cover(int root, const char *path, const char *real, const char *hidden, bool writable,
		 struct error *err)
{
	if (!path_within(hidden, real))
		return 0;
	autofree char *place =
		xasprintf("%s%s", path, hidden + (strcmp(real, "/") ? strlen(real) : 0));
	autofd int target = open_beneath(root, relative(place), O_PATH, 0);
	struct stat st;

	/* Covered already, with something above it; or where nobody inside comes either. */
	if (target < 0 && (errno == ENOENT || errno == EACCES))
		return 0;
	if (target < 0 || fstat(target, &st) < 0)
		return error_errno(err, "cannot hide %s", place);
	if (S_ISDIR(st.st_mode)) {
		if ((writable ? mount_tmpfs(target, "mode=0755", err) : mount_empty(target, err)) <
		    0)
			return error_wrap(err, "cannot hide %s", place);
		return 0;
	}
	/* A single file that is mounted. */
	if (cover_file(target, err) < 0)
		return error_wrap(err, "cannot hide %s", place);
	return 0;
}

static int cover_hidden(int root, const char *path, const struct hidden *hidden, struct error *err)
{
	autofree char *real = realpath(path, NULL);

	if (!real)
		return error_errno(err, "cannot find %s", path);
	for (size_t i = 0; i < hidden->kernel.len; i++)
		if (cover(root, path, real, hidden->kernel.items[i], false, err) < 0)
			return -1;
	for (size_t i = 0; i < hidden->homes.len; i++)
		if (cover(root, path, real, hidden->homes.items[i], true, err) < 0)
			return -1;
	return cover(root, path, real, hidden->store, false, err);
}

static int bind_directory(int root, const char *path, const struct hidden *hidden,
			  struct error *err)
{
	autofd int source = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	autofd int target = -1;

	if (source < 0 && errno == ENOENT)
		return 0;
	if (source < 0)
		return error_errno(err, "cannot open %s", path);
	if (open_directory(root, path, &target, err) < 0 ||
	    mount_bind(source, target, BIND_READ_ONLY | BIND_NO_DEVICES | BIND_RECURSIVE, err) < 0)
		return error_wrap(err, "%s", path);
	return cover_hidden(root, path, hidden, err);
}

static int make_link(int root, const char *path, const char *text, struct error *err)
{
	if (symlinkat(text, root, relative(path)) < 0)
		return error_errno(err, "cannot create %s in the sandbox", path);
	return 0;
}

/* /usr and /opt, and beside them what a merged-usr system has as links and others as directories. */
static int add_system(int root, const struct hidden *hidden, struct error *err)
{
	enum { ALWAYS_BOUND = 2 };

	for (size_t i = 0; i < ROOTFS_SYSTEM; i++) {
		const char *path = rootfs_system[i];
		char text[64];
		ssize_t len = i < ALWAYS_BOUND ? 0 : readlink(path, text, sizeof text - 1);

		if (len > 0) {
			text[len] = '\0';
			if (make_link(root, path, text, err) < 0)
				return -1;
		} else if ((len == 0 || errno == EINVAL) &&
			   bind_directory(root, path, hidden, err) < 0) {
			return -1;
		}
	}
	return 0;
}

static int write_etc(int etc, const char *name, const char *text, struct error *err)
{
	autofd int fd = open_beneath(etc, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write_all(fd, text, strlen(text)) < 0)
		return error_errno(err, "cannot write /etc/%s in the sandbox", name);
	return 0;
}

/* A file of the host's /etc is copied (it is small), a link to elsewhere stays a link. */
static int copy_etc(int host, int etc, const char *name, struct error *err)
{
	char text[256];
	ssize_t len = readlinkat(host, name, text, sizeof text - 1);

	if (len > 0 && len < (ssize_t)sizeof text - 1) {
		text[len] = '\0';
		if (symlinkat(text, etc, name) < 0)
			return error_errno(err, "cannot create /etc/%s in the sandbox", name);
		return 0;
	}
	autofd int fd = openat(host, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	/* What the caller cannot read the sandbox does not need. */
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	return file_copy_at(fd, etc, name, err);
}

static int add_accounts(const struct plan *plan, const char *home, int etc, struct error *err)
{
	autofree char *user = xasprintf("%s:x:%u:%u::%s:%s\n", plan->user, plan->uid, plan->gid,
					home, plan->shell);
	autofree char *passwd =
		xasprintf("%s%snobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
			  plan->uid ? "root:x:0:0:root:/root:/usr/sbin/nologin\n" : "", user);
	autofree char *group =
		xasprintf("%s%s:x:%u:\nnogroup:x:65534:\n", plan->gid ? "root:x:0:\n" : "",
			  plan->gid ? plan->user : "root", plan->gid);
	autofree char *hosts =
		xasprintf("127.0.0.1\tlocalhost %s\n::1\tlocalhost\n", plan->hostname);
	autofree char *hostname = xasprintf("%s\n", plan->hostname);

	if (write_etc(etc, "passwd", passwd, err) < 0 || write_etc(etc, "group", group, err) < 0 ||
	    write_etc(etc, "hosts", hosts, err) < 0 ||
	    write_etc(etc, "hostname", hostname, err) < 0)
		return -1;
	return 0;
}

static int add_resolver(int etc, struct error *err)
{
	autofd int fd = open("/etc/resolv.conf", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	return fd < 0 ? 0 : file_copy_at(fd, etc, "resolv.conf", err);
}

/* By allowlist: a host's /etc holds keys and passwords, and a root's sandbox could read them. */
static int add_etc(int root, const struct plan *plan, const char *home, const struct hidden *hidden,
		   struct error *err)
{
	static const char *const files[] = {
		"ld.so.cache",	  "localtime", "timezone",    "os-release",
		"debian_version", "services",  "protocols",   "bash.bashrc",
		"profile",	  "inputrc",   "locale.conf",
	};
	static const char *const directories[] = {
		"/etc/ssl/certs",	"/etc/pki/tls/certs",
		"/etc/pki/ca-trust",	"/etc/ca-certificates",
		"/etc/alternatives",	"/etc/fonts",
		"/etc/terminfo",	"/etc/perl",
		"/etc/python3",		"/etc/vim",
		"/etc/java-17-openjdk", "/etc/java-21-openjdk",
	};
	autofd int host = open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autofd int etc = -1;

	if (host < 0)
		return error_errno(err, "cannot open /etc");
	if (open_directory(root, "/etc", &etc, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (copy_etc(host, etc, files[i], err) < 0)
			return error_wrap(err, "/etc");
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
		if (bind_directory(root, directories[i], hidden, err) < 0)
			return -1;
	if (write_etc(etc, "nsswitch.conf",
		      "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"
		      "services: files\nprotocols: files\n",
		      err) < 0 ||
	    write_etc(etc, "gitconfig", plan->git_config, err) < 0 ||
	    (plan->git_ignore && write_etc(etc, "gitignore", plan->git_ignore, err) < 0) ||
	    (plan->git_attributes &&
	     write_etc(etc, "gitattributes", plan->git_attributes, err) < 0) ||
	    add_accounts(plan, home, etc, err) < 0)
		return -1;
	return plan->host_network ? add_resolver(etc, err) : 0;
}

/* The type is verified on the open file that is then mounted (T10, CVE-2025-31133). */
static int add_device(int dev, const char *name, unsigned int major_number,
		      unsigned int minor_number, struct error *err)
{
	autofree char *path = xasprintf("/dev/%s", name);
	autofd int source = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	autofd int made = open_beneath(dev, name, O_WRONLY | O_CREAT, 0666);
	autofd int target = made < 0 ? -1 : open_beneath(dev, name, O_PATH, 0);
	struct stat st;

	if (source < 0 || target < 0 || fstat(source, &st) < 0)
		return error_errno(err, "cannot prepare %s", path);
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(major_number, minor_number))
		return error_set(err, ERR_UNSUPPORTED, "%s of this machine is not the device %u:%u",
				 path, major_number, minor_number);
	if (mount_bind(source, target, BIND_NO_EXEC, err) < 0)
		return error_wrap(err, "%s", path);
	return 0;
}

static int add_devices(int root, struct error *err)
{
	/* Numbers: Documentation/admin-guide/devices.txt. */
	static const struct {
		const char *name;
		unsigned int major_number, minor_number;
	} devices[] = {
		{"null", 1, 3},	  {"zero", 1, 5},    {"full", 1, 7},
		{"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
	};
	static const char *const links[][2] = {
		{"/dev/ptmx", "pts/ptmx"},	    {"/dev/fd", "/proc/self/fd"},
		{"/dev/stdin", "/proc/self/fd/0"},  {"/dev/stdout", "/proc/self/fd/1"},
		{"/dev/stderr", "/proc/self/fd/2"},
	};
	autofd int dev = -1, pts = -1, shm = -1;

	if (open_directory(root, "/dev", &dev, err) < 0 ||
	    open_directory(root, "/dev/pts", &pts, err) < 0 ||
	    open_directory(root, "/dev/shm", &shm, err) < 0 || mount_devpts(pts, err) < 0)
		return -1;
	if (fchmod(shm, 01777) < 0)
		return error_errno(err, "cannot prepare /dev/shm");
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
		if (add_device(dev, devices[i].name, devices[i].major_number,
			       devices[i].minor_number, err) < 0)
			return -1;
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		if (make_link(root, links[i][0], links[i][1], err) < 0)
			return -1;
	return 0;
}

static int add_scratch(int root, struct error *err)
{
	static const char *const shared[] = {"/tmp", "/var/tmp", "/run/lock"};

	for (size_t i = 0; i < ARRAY_SIZE(shared); i++) {
		autofd int fd = -1;

		if (open_directory(root, shared[i], &fd, err) < 0)
			return -1;
		if (fchmod(fd, 01777) < 0)
			return error_errno(err, "cannot prepare %s", shared[i]);
	}
	return make_link(root, "/var/run", "/run", err);
}

static int add_guest(int root, const struct plan *plan, struct error *err)
{
	autofd int source = open(plan->guest, O_PATH | O_CLOEXEC);
	autofd int target = -1;

	if (source < 0)
		return error_errno(err, "cannot open %s", plan->guest);
	if (open_file_target(root, ROOTFS_GUEST, &target, err) < 0 ||
	    mount_bind(source, target, BIND_READ_ONLY | BIND_NO_DEVICES, err) < 0)
		return error_wrap(err, "%s", plan->guest);
	return make_link(root, ROOTFS_FSMONITOR, ROOTFS_GUEST, err);
}

static int bind_target(int root, const struct plan_bind *bind, int *ret, struct error *err)
{
	return bind->directory ? open_directory(root, bind->target, ret, err)
			       : open_file_target(root, bind->target, ret, err);
}

/*
 * Every mount point is made on the tmpfs first (or the one that covers the host's home): the
 * home's is the lower layer of the home, so that a repository below the home directory leaves
 * nothing in what the sandbox keeps.
 */
static int make_mount_points(int root, const struct plan *plan, const struct sandbox *sandbox,
			     struct error *err)
{
	autofd int home = -1;

	if (open_directory(root, sandbox->home, &home, err) < 0) {
		/* One that the host no longer has, in a directory that is the host's. */
		if (err->number != EROFS)
			return -1;
		error_clear(err);
		error_set(err, ERR_UNSUPPORTED, "the home directory %s cannot be made in a sandbox",
			  sandbox->home);
		return error_hint(err, "use --layout jib");
	}
	for (size_t i = 0; i < sandbox->repo_count; i++) {
		const struct sandbox_repo *repo = &sandbox->repos[i];
		autofd int fd = -1, git = -1;

		if (open_directory(root, repo->path, &fd, err) < 0 ||
		    (repo->git_path && open_directory(root, repo->git_path, &git, err) < 0))
			return -1;
	}
	for (size_t i = 0; i < plan->bind_count; i++) {
		autofd int fd = -1;

		if (bind_target(root, &plan->binds[i], &fd, err) < 0)
			return -1;
	}
	return 0;
}

static int add_view(int root, const struct view *view, const struct view_mount *mount,
		    struct error *err)
{
	autofree char *path = mount->kind == VIEW_GIT ? xasprintf("%s/.git", mount->target)
						      : xstrdup(mount->target);
	autofd int target = -1;

	if (open_directory(root, path, &target, err) < 0 ||
	    view_mount(view, mount, target, target, err) < 0)
		return error_wrap(err, "%s", path);
	return 0;
}

/*
 * The sandbox may have moved away what a carried directory lies in, and put something else there:
 * then it has no place, and what was written in it stays in its upper. Who only looks cannot make it.
 */
static bool has_lost_place(int root, const struct plan *plan, const struct view_mount *mount)
{
	autofd int place = open_beneath(root, relative(mount->target), O_PATH | O_DIRECTORY, 0);

	return mount->kind == VIEW_CARRIED && place < 0 &&
	       (errno == ENOTDIR || errno == ELOOP || (plan->looking && errno == ENOENT));
}

static int add_views(int root, const struct plan *plan, const struct sandbox *sandbox,
		     const struct view *view, struct error *err)
{
	for (size_t i = 0; i < view->count; i++)
		if (!has_lost_place(root, plan, &view->mounts[i]) &&
		    add_view(root, view, &view->mounts[i], err) < 0)
			return -1;
	for (size_t i = 0; i < sandbox->repo_count; i++) {
		const struct sandbox_repo *repo = &sandbox->repos[i];

		if (!repo->git_path || plan->looking)
			continue;
		autofree char *path = xasprintf("%s/.git", repo->path);
		autofd int source = -1, target = -1;

		if (open_directory(root, path, &source, err) < 0 ||
		    open_directory(root, repo->git_path, &target, err) < 0 ||
		    mount_bind(source, target, BIND_NO_DEVICES, err) < 0)
			return error_wrap(err, "%s", repo->git_path);
	}
	return 0;
}

/*
 * The source was resolved and opened when the plan was made; here it is opened in this mount
 * namespace, and must still be the same file.
 */
static int open_source(const struct plan_bind *bind, int *ret, struct error *err)
{
	autofd int fd = open(bind->source, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat planned, found;

	if (fd < 0 || fstat(fd, &found) < 0 || fstat(bind->fd, &planned) < 0)
		return error_errno(err, "cannot open %s", bind->source);
	if (planned.st_dev != found.st_dev || planned.st_ino != found.st_ino)
		return error_set(err, ERR_UNSTABLE, "%s was replaced meanwhile", bind->source);
	*ret = steal_fd(&fd);
	return 0;
}

static void close_sources(const struct plan *plan, int *sources)
{
	for (size_t i = 0; sources && i < plan->bind_count; i++)
		fd_close(&sources[i]);
	free(sources);
}

/* Before the new root covers the store's .tmp, where what is bound for who looks may lie. */
static int open_sources(const struct plan *plan, int **ret, struct error *err)
{
	int *sources = xcalloc(plan->bind_count + 1, sizeof *sources);

	for (size_t i = 0; i < plan->bind_count; i++)
		sources[i] = -1;
	for (size_t i = 0; i < plan->bind_count; i++)
		if (open_source(&plan->binds[i], &sources[i], err) < 0) {
			close_sources(plan, sources);
			return error_wrap(err, "--bind %s", plan->binds[i].source);
		}
	*ret = sources;
	return 0;
}

static int add_binds(int root, const struct plan *plan, const int *sources, struct error *err)
{
	for (size_t i = 0; i < plan->bind_count; i++) {
		const struct plan_bind *bind = &plan->binds[i];
		unsigned int flags = BIND_NO_DEVICES | BIND_RECURSIVE;
		autofd int target = -1;

		if (bind_target(root, bind, &target, err) < 0 ||
		    mount_bind(sources[i], target, bind->writable ? flags : flags | BIND_READ_ONLY,
			       err) < 0)
			return error_wrap(err, "--bind %s", bind->source);
	}
	return 0;
}

/* Some may be of a layer that another one hides. A link is covered itself, not what it leads to. */
static int add_covers(int root, const struct plan *plan, struct error *err)
{
	for (size_t i = 0; i < plan->covered.len; i++) {
		const char *path = plan->covered.items[i];
		autofd int target = open_beneath(root, relative(path), O_PATH | O_NOFOLLOW, 0);
		struct stat st;

		if (target < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP ||
				   errno == ENAMETOOLONG))
			continue;
		if (target < 0 || fstat(target, &st) < 0)
			return error_errno(err, "cannot cover %s", path);
		if (!S_ISDIR(st.st_mode) && cover_file(target, err) < 0)
			return error_wrap(err, "cannot cover %s", path);
	}
	return 0;
}

static int add_file(int root, const struct plan_file *file, struct error *err)
{
	const char *slash = strrchr(file->path, '/');
	autofree char *parent = xstrndup(file->path, (size_t)(slash - file->path));
	autofd int dir = -1;

	if (open_directory(root, parent, &dir, err) < 0)
		return -1;
	if (file->link) {
		if (symlinkat(file->text, dir, slash + 1) < 0)
			return error_errno(err, "cannot create %s in the sandbox", file->path);
		return 0;
	}
	autofd int fd = open_beneath(dir, slash + 1, O_WRONLY | O_CREAT | O_EXCL, 0644);

	if (fd < 0 || write_all(fd, file->text, strlen(file->text)) < 0)
		return error_errno(err, "cannot write %s in the sandbox", file->path);
	return 0;
}

static int add_files(int root, const struct plan *plan, struct error *err)
{
	for (size_t i = 0; i < plan->file_count; i++)
		if (add_file(root, &plan->files[i], err) < 0)
			return -1;
	return 0;
}

/* Keys are told apart by user, not by namespace: the caller's own would be listed (T9). */
static int hide_keys(int root, struct error *err)
{
	static const char *const files[] = {"proc/keys", "proc/key-users"};
	autofd int null = open_beneath(root, "dev/null", O_PATH, 0);

	if (null < 0)
		return error_errno(err, "cannot open /dev/null in the sandbox");
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		autofd int target = open_beneath(root, files[i], O_PATH, 0);

		if (target < 0 && errno == ENOENT)
			continue;
		if (target < 0)
			return error_errno(err, "cannot hide /%s", files[i]);
		if (mount_bind(null, target, BIND_READ_ONLY | BIND_NO_EXEC, err) < 0)
			return error_wrap(err, "/%s", files[i]);
	}
	return 0;
}

static int add_proc(int root, struct error *err)
{
	autofd int target = -1;

	if (open_directory(root, "/proc", &target, err) < 0 || mount_proc(target, err) < 0)
		return -1;
	return hide_keys(root, err);
}

static int build_root(const struct plan *plan, const struct sandbox *sandbox,
		      const struct view *view, const struct hidden *hidden, int scratch,
		      const int *sources, struct error *err)
{
	if (mount_make_private(err) < 0 || mount_tmpfs(scratch, "mode=0755", err) < 0)
		return -1;
	/* The fd still means what is covered: the mount is reached through its path. */
	autofree char *path = realpath(fd_path(scratch).s, NULL);
	autofd int root = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (root < 0)
		return error_errno(err, "cannot open the sandbox's root");
	if (add_system(root, hidden, err) < 0 ||
	    add_etc(root, plan, sandbox->home, hidden, err) < 0 || add_devices(root, err) < 0 ||
	    add_scratch(root, err) < 0 || add_guest(root, plan, err) < 0 ||
	    make_mount_points(root, plan, sandbox, err) < 0 ||
	    add_views(root, plan, sandbox, view, err) < 0 ||
	    add_binds(root, plan, sources, err) < 0 || add_covers(root, plan, err) < 0 ||
	    add_files(root, plan, err) < 0 || add_proc(root, err) < 0)
		return -1;
	return mount_pivot(root, err);
}

int rootfs_enter(const struct plan *plan, const struct sandbox *sandbox, const struct view *view,
		 const struct root *store, struct error *err)
{
	__attribute__((cleanup(hidden_release))) struct hidden hidden = {0};
	int *sources = NULL;

	if (find_hidden(sandbox, store, &hidden, err) < 0 || open_sources(plan, &sources, err) < 0)
		return -1;
	int result = build_root(plan, sandbox, view, &hidden, store->temp, sources, err);

	close_sources(plan, sources);
	return result;
}
