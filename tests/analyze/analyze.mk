# `make analyze`: four tools read the source of all rooms.  With -j, side by
# side; a finding is shown and fails.

ANALYZE_SRC := $(sort $(wildcard $(addsuffix /*.c,auth client ctl fmltp keys \
	master pam paramgen privsep worker)))
ANALYZE_LOGS = $(patsubst %.c,$(B)/analyze/$(1)/%.log,$(ANALYZE_SRC))
ANALYZE_CC ?= gcc
ANALYZE_CLANG ?= clang
ANALYZE_FLAGS = -I$(B) $(filter-out -MMD -MP,$(CPPFLAGS_ALL) $(NAMES) \
	-std=gnu11 $(OPT) $(WARN) -Wno-error)

# gcc 12 loses sight of what is stored through a pointer, and takes it for a
# leak: all of these findings are false.  valgrind and clang look for leaks.
ANALYZE_GCC := -fanalyzer -Wno-analyzer-malloc-leak
ANALYZE_CLANG_FLAGS := --analyze -Xclang -analyzer-output=text
# The trees of sys/tree.h, whose nodes the analyzer can't tell apart.
$(B)/analyze/clang/master/source.log: ANALYZE_CLANG_FLAGS += \
	-Xclang -analyzer-disable-checker=unix.Malloc

$(B)/analyze/gcc/%.log: %.c $(B)/build_id.h FORCE
	@mkdir -p $(@D)
	$(Q)$(ANALYZE_CC) $(ANALYZE_FLAGS) $(ANALYZE_GCC) -c $< -o $(@:.log=.o) \
	    > $@ 2>&1 || :

$(B)/analyze/clang/%.log: %.c $(B)/build_id.h FORCE
	@mkdir -p $(@D)
	$(Q)$(ANALYZE_CLANG) $(ANALYZE_FLAGS) $(ANALYZE_CLANG_FLAGS) $< > $@ 2>&1 || :

$(B)/analyze/tidy/%.log: %.c $(B)/build_id.h FORCE
	@mkdir -p $(@D)
	$(Q)clang-tidy --quiet $< -- $(ANALYZE_FLAGS) 2> $(@:.log=.err) > $@ || \
	    cat $(@:.log=.err) >> $@

# It looks across files, and reads no header of the system's.
$(B)/analyze/cppcheck.log: $(B)/build_id.h FORCE
	@mkdir -p $(@D)
	$(Q)cppcheck --quiet --enable=warning,performance,portability \
	    --inline-suppr --suppressions-list=tests/analyze/cppcheck.txt \
	    --std=c11 --library=posix --library=gnu --library=bsd \
	    -I. -I$(B) -Itests/analyze -D_GNU_SOURCE -UFLEXMUSIC_SANITIZER \
	    $(NAMES) $(ANALYZE_SRC) > $@ 2>&1 || :

# One line a tool, or what it has found.
analyze_say = @if [ -s $(B)/analyze/$(1).all ]; then \
	cat $(B)/analyze/$(1).all; echo "$(2): findings" >&2; exit 1; \
	else printf '  %-16s %s files, no finding\n' '$(2)' \
	$(words $(ANALYZE_SRC)); fi

.PHONY: analyze analyze-gcc analyze-clang analyze-tidy analyze-cppcheck
analyze: analyze-gcc analyze-clang analyze-tidy analyze-cppcheck

analyze-gcc: $(call ANALYZE_LOGS,gcc)
	@cat $^ > $(B)/analyze/gcc.all
	$(call analyze_say,gcc,gcc -fanalyzer)

analyze-clang: $(call ANALYZE_LOGS,clang)
	@cat $^ > $(B)/analyze/clang.all
	$(call analyze_say,clang,clang --analyze)

analyze-tidy: $(call ANALYZE_LOGS,tidy)
	@cat $^ > $(B)/analyze/tidy.all
	$(call analyze_say,tidy,clang-tidy)

analyze-cppcheck: $(B)/analyze/cppcheck.log
	@cat $^ > $(B)/analyze/cppcheck.all
	$(call analyze_say,cppcheck,cppcheck)
