/*
 * host-path: which paths of a sandbox may be written into a work tree of the host.
 */
#pragma once

/*
 * NULL, or why not, in words. Refused is what is absolute, has an empty component, "." or "..",
 * is longer than the kernel takes below `top`, or has a component that some file system takes for
 * `.git`: in any case, with characters that HFS+ ignores, with NTFS' trailing dots, spaces and
 * stream names, or as its short name git~1.
 */
const char *host_path_refusal(const char *top, const char *path);
