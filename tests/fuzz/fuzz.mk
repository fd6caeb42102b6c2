# The fuzzers: each tests/fuzz/fuzz_*.c is a program on libFuzzer, with
# objects of its own.  `make fuzz FUZZ_SECONDS=n` runs each for n seconds.

FUZZ_CC ?= clang
FUZZ_SECONDS ?= 10
FUZZ_SANITIZE := address,undefined

FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZERS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(FUZZ_SRC))
# What is fuzzed besides fmltp/: the readers of the configuration and of the
# users file.
FUZZED_SRC := $(FMLTP_SRC) $(wildcard master/config*.c) master/source.c \
	privsep/users.c auth/table.c

FUZZ_CFLAGS := -std=gnu11 -O1 -g $(WARN) -fno-omit-frame-pointer -MMD -MP \
	-fsanitize=fuzzer-no-link,$(FUZZ_SANITIZE) -fno-sanitize-recover=all

$(B)/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(FUZZ_CC) -I$(B) $(CPPFLAGS_ALL) $(FUZZ_CFLAGS) -c $< -o $@

$(patsubst %.c,$(B)/fuzz/obj/%.o,$(FUZZ_SRC)): $(B)/tests/vectors.h

$(B)/fuzz/libfuzzed.a: $(patsubst %.c,$(B)/fuzz/obj/%.o,$(FUZZED_SRC))
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcs $@ $^

$(FUZZERS): $(B)/fuzz/%: $(B)/fuzz/obj/tests/fuzz/%.o $(B)/fuzz/libfuzzed.a
	$(call say,LD,$@)
	$(Q)$(FUZZ_CC) -fsanitize=fuzzer,$(FUZZ_SANITIZE) $^ -o $@ \
	    $(DAEMON_LIBS)

.PHONY: fuzz fuzzers
fuzzers: $(FUZZERS)

fuzz: $(FUZZERS)
	@/usr/bin/python3 tests/fuzz/seeds.py $(B)/fuzz/corpus
	$(Q)for f in $(FUZZERS); do \
	    name=$${f##*/fuzz_}; \
	    mkdir -p $(B)/fuzz/corpus/$$name; \
	    $$f -max_total_time=$(FUZZ_SECONDS) -timeout=10 -max_len=16384 \
		-artifact_prefix=$(B)/fuzz/failed-$$name- -verbosity=0 \
		-print_final_stats=1 $(B)/fuzz/corpus/$$name \
		>$(B)/fuzz/$$name.log 2>&1 || \
		{ cat $(B)/fuzz/$$name.log; exit 1; }; \
	    printf '  FUZZ %-10s %s runs\n' $$name \
		"$$(sed -n 's/^stat::number_of_executed_units: *//p' \
		$(B)/fuzz/$$name.log)"; \
	done
