# What `make check`, `make demo` and `make run` need beside the programs.

# The objects of all processes without their main(), for unit tests.
LIBHOUSE := $(B)/libhouse.a
HOUSE_SRC := $(filter-out privsep/main.c privsep/roles_daemon.c,$(DAEMON_SRC)) \
	$(filter-out privsep/%,$(WORKER_SRC)) pam/attempt.c client/known.c \
	client/failure.c
$(LIBHOUSE): $(call obj,$(HOUSE_SRC))
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcs $@ $^

include tests/unit/unit.mk
-include tests/fuzz/fuzz.mk
-include tests/analyze/analyze.mk

comma := ,
# The server whose calls fail when a test wants it (tests/faults/fault.h), with
# a clock that runs and a death that is timed.
FAULTS := $(B)/faults/flexmusicd $(B)/faults/flexmusicd-worker \
	$(B)/faults/flexmusicd-pam
FAULT_SRC := tests/faults/fault.c tests/faults/calls.c tests/faults/steps.c
FAULT_CALLS := $(shell sed -n '/define FAULT_CALLS/,/^$$/s/.*X(\(\w*\)).*/\1/p' \
	tests/faults/fault.h)
WRAPPED := $(addprefix -Wl$(comma)--wrap=,$(FAULT_CALLS))

$(B)/faults/flexmusicd: $(call obj,$(DAEMON_SRC) $(FAULT_SRC) \
    tests/faults/events.c tests/faults/libraries.c tests/faults/clock.c) \
    $(FMLTP_LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -pie $^ -o $@ $(LDFLAGS_ALL) $(WRAPPED) \
	    -Wl,--wrap=master_now $(DAEMON_LIBS)

$(B)/faults/flexmusicd-pam: $(call obj,$(PAM_SRC) $(FAULT_SRC) \
    tests/faults/events.c) $(FMLTP_LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -pie $^ -o $@ $(LDFLAGS_ALL) $(WRAPPED) \
	    $(PAM_LIBS)

$(B)/faults/flexmusicd-worker: $(call obj,$(WORKER_SRC) $(FAULT_SRC)) \
    $(FMLTP_LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(WORKER_LINK) $^ -o $@ $(LDFLAGS_ALL) \
	    -Wl,--gc-sections $(WRAPPED) $(WORKER_LIBS)

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

# The server whose workers are taken over: see tests/rogue.
ROGUE := $(B)/rogue/flexmusicd $(B)/rogue/flexmusicd-worker

$(B)/rogue/flexmusicd: $(call obj,$(DAEMON_SRC) tests/rogue/calm.c \
    tests/rogue/heap.c) $(FMLTP_LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -pie $^ -o $@ $(LDFLAGS_ALL) \
	    -Wl,--wrap=master_count_attack,--wrap=session_zygote_lost \
	    $(DAEMON_LIBS)

$(B)/rogue/flexmusicd-worker: $(call obj,$(WORKER_SRC) tests/rogue/taken.c \
    tests/rogue/serve.c) $(FMLTP_LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(WORKER_LINK) $^ -o $@ $(LDFLAGS_ALL) \
	    -Wl,--gc-sections,--wrap=worker_run,--wrap=channel_receive \
	    $(WORKER_LIBS)

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
check-now: all $(UNIT_TESTS) $(FAULTS) $(FACTS) $(ROGUE)
	@$(TEST_ENV) $(PYTHON) tests/run.py $(if $(ONLY),--only '$(ONLY)') \
	    --unit $(UNIT_TESTS) \
	    $(foreach s,$(SUITES),--suite tests/process/test_$(s).py)

# 64 clients, good and bad, for a while: what is it like afterwards?
SOAK_SECONDS ?= 600
.PHONY: soak
soak: deps
	@+$(MAKE) --no-print-directory all $(MAKE_SETS)
	@$(TEST_ENV) $(PYTHON) tests/soak.py --seconds $(SOAK_SECONDS) \
	    $(if $(SOAK_SEED),--seed $(SOAK_SEED))

# In a build of its own, with clang; takes some minutes.
coverage: deps
	@+$(MAKE) --no-print-directory COVERAGE=yes CC=clang coverage-now

.PHONY: coverage-now
coverage-now: all $(UNIT_TESTS) $(FAULTS) $(FACTS) $(ROGUE) $(MAKE_SETS)
	@$(TEST_ENV) $(PYTHON) tests/coverage.py --unit $(UNIT_TESTS) \
	    $(foreach s,$(SUITES),--suite tests/process/test_$(s).py)
