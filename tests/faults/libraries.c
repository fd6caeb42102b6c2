/*
 * tests/faults/libraries.c - libcrypto's memory, and calls of libcrypt,
 * libseccomp and libconfuse, and getpwnam(3), for build/faults/flexmusicd.
 *
 * Runs in: the test's master, keys, paramgen and auth.
 */
#include <errno.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>

#include <confuse.h>
#include <crypt.h>
#include <openssl/crypto.h>
#include <seccomp.h>

#include "tests/faults/fault.h"

WRAP(cfg_t *, NULL, cfg_init, (cfg_opt_t * options, cfg_flag_t flags),
    (options, flags))
WRAP(char *, NULL, crypt_rn,
    (const char *phrase, const char *setting, void *data, int size),
    (phrase, setting, data, size))
WRAP(struct passwd *, NULL, getpwnam, (const char *name), (name))
WRAP(scmp_filter_ctx, NULL, seccomp_init, (uint32_t action), (action))
WRAP(int, -ECANCELED, seccomp_export_bpf, (const scmp_filter_ctx c, int fd),
    (c, fd))

int __real_seccomp_rule_add_exact_array(scmp_filter_ctx c, uint32_t action,
    int call, unsigned count, const struct scmp_arg_cmp *args);
int __wrap_seccomp_rule_add_exact_array(scmp_filter_ctx c, uint32_t action,
    int call, unsigned count, const struct scmp_arg_cmp *args);

int
__wrap_seccomp_rule_add_exact_array(scmp_filter_ctx c, uint32_t action,
    int call, unsigned count, const struct scmp_arg_cmp *args)
{
	if (fault_here(FAULT_seccomp_rule_add_exact_array))
		return -ENOMEM;
	return __real_seccomp_rule_add_exact_array(
	    c, action, call, count, args);
}

void *__real_malloc(size_t size);

static void *
libraries_malloc(size_t size, const char *file, int line)
{
	return fault_here(FAULT_crypto) ? NULL : __real_malloc(size);
}

static void *
libraries_realloc(void *p, size_t size, const char *file, int line)
{
	return fault_here(FAULT_crypto) ? NULL : realloc(p, size);
}

static void
libraries_free(void *p, const char *file, int line)
{
	free(p);
}

static void __attribute__((constructor)) libraries_begin(void)
{
	CRYPTO_set_mem_functions(
	    libraries_malloc, libraries_realloc, libraries_free);
}
