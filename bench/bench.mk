# What it costs: `make bench` prints each figure with its limit beside it.
# bench/bench.py --quick, through `make bench BENCH=--quick`, takes 20 s.

BENCH ?=
BENCH_PROGRAMS := $(addprefix $(B)/bench/,limit load empty_fork)

$(B)/bench/limit: $(B)/bench/limit.o
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -pie $^ -o $@ $(LDFLAGS_ALL) $(CLIENT_LIBS)

$(B)/bench/load: $(B)/bench/load.o $(FMLTP_LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -pie $^ -o $@ $(LDFLAGS_ALL) $(CLIENT_LIBS)

$(B)/bench/empty_fork: $(B)/bench/empty_fork.o
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -static-pie $^ -o $@ $(LDFLAGS_ALL)

# The comparison needs the other way of linking too, in a directory of its own.
.PHONY: bench-dynamic
bench-dynamic:
	+$(Q)$(MAKE) --no-print-directory STATIC=no B=$(B)/dynamic all

bench: all bench-dynamic $(BENCH_PROGRAMS)
	$(Q)/usr/bin/python3 bench/bench.py --build $(B) $(BENCH)
