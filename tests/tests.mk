# What `make check`, `make demo` and `make run` need beside the programs.

# The objects of all processes without their main(), for unit tests.
LIBHOUSE := $(B)/libhouse.a
HOUSE_SRC := $(filter-out privsep/main.c privsep/roles_daemon.c,$(DAEMON_SRC)) \
	$(filter-out privsep/%,$(WORKER_SRC)) pam/attempt.c
$(LIBHOUSE): $(call obj,$(HOUSE_SRC))
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcs $@ $^

include tests/unit/unit.mk
-include tests/fuzz/fuzz.mk

# The server with a fork that fails, a clock that runs, a death that is timed.
FAULTS := $(B)/faults/flexmusicd $(B)/faults/flexmusicd-worker

$(B)/faults/flexmusicd: $(call obj,$(DAEMON_SRC) tests/faults/fork.c \
    tests/faults/clock.c tests/faults/steps.c) $(FMLTP_LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -pie $^ -o $@ $(LDFLAGS_ALL) \
	    -Wl,--wrap=fork,--wrap=clone,--wrap=master_now \
	    -Wl,--wrap=openat,--wrap=unlinkat,--wrap=renameat,--wrap=fsync \
	    $(DAEMON_LIBS)

$(B)/faults/flexmusicd-worker: $(call obj,$(WORKER_SRC) tests/faults/fork.c) $(FMLTP_LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(WORKER_LINK) $^ -o $@ $(LDFLAGS_ALL) \
	    -Wl,--gc-sections,--wrap=fork,--wrap=clone $(WORKER_LIBS)

# What the source's tables say of each role's sandbox: SECURITY.md is made of
# it, and tests compare it with running processes.
FACTS := $(B)/tests/tools/facts
$(FACTS): $(call obj,tests/tools/facts.c privsep/roles.c privsep/roles_text.c \
    privsep/sandbox_table.c)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -pie $^ -o $@ $(LDFLAGS_ALL)

docs: $(FACTS)
	@BUILD=$(B) $(PYTHON) tests/tools/docs.py

PYTHON := /usr/bin/python3
TEST_ENV = BUILD=$(B) CC='$(CC)' $(if $(SANITIZE),FLEXMUSIC_SANITIZE=1) \
	$(if $(SANITIZE),ASAN_OPTIONS=detect_leaks=0:handle_segv=0)

# Packages first, and then a make of its own: what is missing changes the
# flags that it finds.
deps:
	@sh tests/deps.sh

deps-demo:
	@sh tests/deps.sh demo

check: deps
	@+$(MAKE) --no-print-directory check-now

demo: deps-demo
	@+$(MAKE) --no-print-directory all
	@BUILD=$(B) $(PYTHON) tests/demo.py

run: deps-demo
	@+$(MAKE) --no-print-directory all
	@BUILD=$(B) sh tests/run_server.sh

.PHONY: check-now
check-now: all $(UNIT_TESTS) $(FAULTS) $(FACTS)
	@$(TEST_ENV) $(PYTHON) tests/run.py $(if $(ONLY),--only '$(ONLY)') \
	    --unit $(UNIT_TESTS) \
	    $(foreach s,$(SUITES),--suite tests/process/test_$(s).py)
