# What it costs: `make bench` prints each figure with its limit beside it.
# `make bench` takes 15 minutes, `make bench BENCH=--quick` one.

BENCH ?=
BENCH_PROGRAMS := $(addprefix $(B)/bench/,limit load empty_fork search exchange)

$(B)/bench/limit: $(B)/bench/limit.o
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -pie $^ -o $@ $(LDFLAGS_ALL) $(CLIENT_LIBS)

$(B)/bench/load: $(B)/bench/load.o $(FMLTP_LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -pie $^ -o $@ $(LDFLAGS_ALL) $(CLIENT_LIBS)

$(B)/bench/empty_fork: $(B)/bench/empty_fork.o
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -static-pie $^ -o $@ $(LDFLAGS_ALL)

$(B)/bench/search: $(call obj,bench/search.c paramgen/search.c \
    paramgen/sieve.c)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -pie $^ -o $@ $(LDFLAGS_ALL) $(CLIENT_LIBS)

$(B)/bench/exchange: $(B)/bench/exchange.o $(call obj,$(wildcard keys/*.c) \
    privsep/channel.c privsep/message.c) $(FMLTP_LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -pie $^ -o $@ $(LDFLAGS_ALL) $(DAEMON_LIBS)

# The comparison needs the other way of linking too, in a directory of its own.
.PHONY: bench-dynamic
bench-dynamic:
	+$(Q)$(MAKE) --no-print-directory STATIC=no B=$(B)/dynamic all

bench: all bench-dynamic $(BENCH_PROGRAMS)
	$(Q)/usr/bin/python3 bench/bench.py --build $(B) $(BENCH); \
	    status=$$?; echo; \
	    /usr/bin/python3 bench/parameters.py --build $(B) $(BENCH) && \
	    exit $$status
