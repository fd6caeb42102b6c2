# The fuzzers: each tests/fuzz/fuzz_*.c is a program on libFuzzer, built twice
# with objects of its own: with sanitizers, and to count lines.
#
# `make fuzz FUZZ_SECONDS=n` runs each for n seconds, two at a time, from the
# kept corpus (tests/fuzz/corpus/), of which it takes a copy; `make
# fuzz-coverage` runs each over the kept corpus alone, and fails where one
# does not reach what it is for; `make fuzz-corpus` makes the kept corpus anew
# of itself and of what `make fuzz` has found.

FUZZ_CC ?= clang
FUZZ_SECONDS ?= 10
FUZZ_JOBS ?= 2
FUZZ_SANITIZE := address,undefined

FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(FUZZ_SRC))
FUZZ_CLIENT := $(filter client_%,$(FUZZ_NAMES))
FUZZ_CTL := $(filter ctl_%,$(FUZZ_NAMES))
FUZZ_SERVER := $(filter-out $(FUZZ_CLIENT) $(FUZZ_CTL),$(FUZZ_NAMES))

# What is fuzzed, without its main(): the server's processes, the client,
# flexmusicctl.  Some names are in more than one of them.
FUZZED_SERVER := $(filter-out privsep/start.c,$(HOUSE_SRC)) $(FMLTP_SRC)
FUZZED_CLIENT := $(filter-out client/main.c,$(CLIENT_SRC)) $(FMLTP_SRC)
FUZZED_CTL := $(filter-out ctl/main.c,$(CTL_SRC)) $(FMLTP_SRC)

FUZZ_CFLAGS := -std=gnu11 -O1 -g $(WARN) -fno-omit-frame-pointer -MMD -MP
FUZZ_FLAGS_fuzz := -fsanitize=fuzzer-no-link,$(FUZZ_SANITIZE) \
	-fno-sanitize-recover=all
FUZZ_LINK_fuzz := -fsanitize=fuzzer,$(FUZZ_SANITIZE)
FUZZ_FLAGS_lines := -fprofile-instr-generate -fcoverage-mapping
FUZZ_LINK_lines := -fsanitize=fuzzer -fprofile-instr-generate

# What a fuzzer must not do, its linker puts something in the place of: see
# its first comment.
FUZZ_WRAP_client_packets := connection_read connection_send \
	kex_params_quick_check kex_params_are_safe readpassphrase fsync
FUZZ_WRAP_client_known := fsync
FUZZ_WRAP_ctl_answers := connect send recv
FUZZ_WRAP_channel_helpers := clone search_safe_prime worker_leave
FUZZ_WRAP_channel_master := fork waitid

# $(1): fuzz or lines; $(2): server, client or ctl; $(3): the names
define fuzz_side
$(B)/$(1)/lib$(2).a: $$(patsubst %.c,$(B)/$(1)/obj/%.o,$(4))
	@rm -f $$@
	$$(call say,AR,$$@)
	$$(Q)$$(AR) rcs $$@ $$^

$(patsubst %,$(B)/$(1)/%,$(3)): $(B)/$(1)/%: \
    $(B)/$(1)/obj/tests/fuzz/fuzz_%.o $(B)/$(1)/lib$(2).a
	$$(call say,LD,$$@)
	$$(Q)$$(FUZZ_CC) $$(FUZZ_LINK_$(1)) \
	    $$(FUZZ_WRAP_$$*:%=-Wl,--wrap=%) $$^ -o $$@ $$(DAEMON_LIBS)
endef

define fuzz_build
$(B)/$(1)/obj/%.o: %.c
	@mkdir -p $$(@D)
	$$(call say,CC,$$@)
	$$(Q)$$(FUZZ_CC) -I$(B) $$(CPPFLAGS_ALL) $$(NAMES) $$(FUZZ_CFLAGS) \
	    $$(FUZZ_FLAGS_$(1)) -c $$< -o $$@

$(B)/$(1)/obj/privsep/build_id.o: $(B)/build_id.h
$(patsubst %.c,$(B)/$(1)/obj/%.o,$(FUZZ_SRC)): $(B)/tests/vectors.h
$(call fuzz_side,$(1),server,$(FUZZ_SERVER),$(FUZZED_SERVER))
$(call fuzz_side,$(1),client,$(FUZZ_CLIENT),$(FUZZED_CLIENT))
$(call fuzz_side,$(1),ctl,$(FUZZ_CTL),$(FUZZED_CTL))
endef

$(eval $(call fuzz_build,fuzz))
$(eval $(call fuzz_build,lines))

FUZZERS := $(patsubst %,$(B)/fuzz/%,$(FUZZ_NAMES))
FUZZ_LINES := $(patsubst %,$(B)/lines/%,$(FUZZ_NAMES))
# `make fuzz FUZZ="stream users"` runs these alone.
FUZZ ?= $(FUZZ_NAMES)
FUZZ_RUN = $(PYTHON) tests/fuzz/run.py --build $(B) --jobs $(FUZZ_JOBS)

.PHONY: fuzz fuzz-coverage fuzz-corpus fuzz-server fuzzers
fuzzers: $(FUZZERS) $(FUZZ_LINES)

fuzz: $(patsubst %,$(B)/fuzz/%,$(FUZZ)) $(patsubst %,$(B)/lines/%,$(FUZZ))
	$(Q)$(FUZZ_RUN) --seconds $(FUZZ_SECONDS) fuzz $(FUZZ)

fuzz-coverage: $(patsubst %,$(B)/lines/%,$(FUZZ))
	$(Q)$(FUZZ_RUN) coverage $(FUZZ)

fuzz-corpus: $(patsubst %,$(B)/fuzz/%,$(FUZZ))
	$(Q)$(FUZZ_RUN) corpus $(FUZZ)

# The whole server, of a build with sanitizers of its own.
fuzz-server:
	@+$(MAKE) --no-print-directory SANITIZE=$(FUZZ_SANITIZE) all
	@BUILD=build/sanitize FLEXMUSIC_SANITIZE=1 \
	    ASAN_OPTIONS=detect_leaks=0:handle_segv=0 $(PYTHON) \
	    tests/fuzz/server.py --seconds $(FUZZ_SECONDS) \
	    $(if $(FUZZ_SEED),--seed $(FUZZ_SEED))
