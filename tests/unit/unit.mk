# Unit tests: each tests/unit/test_*.c is a program on cmocka.
#
# LIBHOUSE, an archive of the processes' objects without their main(), may be
# set before this file is included; UNIT_TESTS is the list of the programs.

UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT_TESTS := $(patsubst %.c,$(B)/%,$(UNIT_SRC))
UNIT_LIBS = -lcmocka -lpam $(DAEMON_LIBS)

# The known answers, as C.
$(B)/tests/vectors.h: tests/vectors/generate.py $(wildcard tests/vectors/*.json)
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)/usr/bin/python3 tests/vectors/generate.py > $@.new
	@mv $@.new $@

$(patsubst %.c,$(B)/%.o,$(UNIT_SRC)): CPPFLAGS_ALL += -I$(B)
$(patsubst %.c,$(B)/%.o,$(UNIT_SRC)): $(B)/tests/vectors.h

# How often a MAC is tried is counted.
$(B)/tests/unit/test_stream: UNIT_LDFLAGS := \
	-Wl,--wrap=crypto_hmac_peek,--wrap=crypto_hmac_update

# What OpenSSL is asked for is looked at, and made to fail.
$(B)/tests/unit/test_kex: UNIT_LDFLAGS := -Wl,--wrap=BN_priv_rand_range \
	-Wl,--wrap=BN_mod_exp_mont_consttime,--wrap=EVP_KDF_derive

# What the key holder makes and frees is counted.
$(B)/tests/unit/test_keys: UNIT_LDFLAGS := -Wl,--wrap=kex_pair_new \
	-Wl,--wrap=kex_pair_free,--wrap=kex_derive,--wrap=kex_group_free

# Randomness that fails, and randomness that is not random.
$(B)/tests/unit/test_search: UNIT_LDFLAGS := -Wl,--wrap=getrandom

# The maker of small sets, which tests/process/test_parameters.py looks at.
MAKE_SETS := $(B)/tests/tools/make_sets
$(MAKE_SETS): $(call obj,tests/tools/make_sets.c paramgen/search.c \
    paramgen/sieve.c) $(FMLTP_LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -pie $^ -o $@ $(LDFLAGS_ALL) $(CLIENT_LIBS)

check-now: $(MAKE_SETS)

$(UNIT_TESTS): $(B)/%: $(B)/%.o $(LIBHOUSE) $(FMLTP_LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -pie $^ -o $@ $(LDFLAGS_ALL) $(UNIT_LDFLAGS) \
	    $(UNIT_LIBS)

.PHONY: unit
unit: $(UNIT_TESTS)
	$(Q)s=0; for t in $(UNIT_TESTS); do $$t || s=1; done; exit $$s

# The pure ones under valgrind: no processes, no filters, no large primes.
VALGRIND_TESTS := $(addprefix $(B)/tests/unit/test_,base64url buf crypto dhkey \
	error fernet kex replay secure sieve source status stream text users \
	version)
VALGRIND := valgrind --quiet --error-exitcode=99 --leak-check=full \
	--show-leak-kinds=all --errors-for-leak-kinds=definite,possible
VALGRIND_LOGS := $(addsuffix .valgrind,$(VALGRIND_TESTS))

$(VALGRIND_LOGS): %.valgrind: % FORCE
	$(Q)FLEXMUSIC_VALGRIND=1 $(VALGRIND) $< > $@ 2>&1 || { cat $@; exit 1; }

.PHONY: valgrind
valgrind: $(VALGRIND_LOGS)
	@printf '  %-16s %s programs, no finding\n' valgrind $(words $^)
