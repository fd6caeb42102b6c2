# flexmusicd: one Makefile for everything; `make help` lists the targets.

VERSION	:= 0.1.0

PREFIX	?= /usr/local
BINDIR	?= $(PREFIX)/bin
SBINDIR	?= $(PREFIX)/sbin
LIBEXECDIR ?= $(PREFIX)/libexec
MANDIR	?= $(PREFIX)/share/man
DOCDIR	?= $(PREFIX)/share/doc/flexmusicd
UNITDIR	?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
SYSCONFDIR ?= /etc

# SANITIZE=address,undefined builds everything with sanitizers, STATIC=no
# links flexmusicd-worker dynamically; each has a build directory of its own.
STATIC	?= yes
# COVERAGE=yes counts which lines are run, with clang; `make coverage` uses it.
BUILD_NAME := build$(if $(SANITIZE),/sanitize)$(if $(COVERAGE),/coverage)$(if \
	$(filter no,$(STATIC)),/dynamic)
B	?= $(BUILD_NAME)

PKG_CONFIG ?= pkg-config
PACKAGES := libbsd-overlay libcrypto libseccomp libevent_core libconfuse

CC	?= cc
OPT	?= -O2
# Flags that depend on compiler and machine are tried once.
try = $(shell printf 'int main(void){return 0;}\n' | $(CC) -x c - -Werror \
	$(1) -o /dev/null 2>/dev/null && echo '$(1)')
CET	:= $(call try,-fcf-protection)
FORTIFY := $(shell printf '\#include <stdio.h>\nint main(void){return 0;}\n' | \
	$(CC) -x c - -Werror -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 \
	-o /dev/null 2>/dev/null && echo '-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3' \
	|| echo '-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2')

# The counters of a process are a mapped file (%c): so they are kept too where
# it is confined, has no environment, and ends by _exit(2).
COVER	:= $(if $(COVERAGE),-fcoverage-mapping \
	-fprofile-instr-generate=$(abspath $(B))/raw/%p%c.profraw)

WARN	:= -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wwrite-strings \
	-Wformat=2 -Wvla -Wundef -Wno-unused-parameter
HARDEN	:= -fstack-protector-strong -fstack-clash-protection \
	$(if $(SANITIZE),,$(FORTIFY)) $(CET)
LDHARDEN := -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,separate-code

CPPFLAGS_ALL := -I. -D_GNU_SOURCE -DOPENSSL_API_COMPAT=0x30000000L \
	-DOPENSSL_SUPPRESS_DEPRECATED \
	$(shell $(PKG_CONFIG) --cflags $(PACKAGES) 2>/dev/null) \
	$(if $(SANITIZE),-DFLEXMUSIC_SANITIZER) $(CPPFLAGS)
CFLAGS_ALL := -std=gnu11 $(OPT) -g $(WARN) $(HARDEN) -fPIE -MMD -MP \
	$(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer \
	-fno-sanitize-recover=all) $(COVER) $(CFLAGS)
LDFLAGS_ALL := $(LDHARDEN) $(CET) \
	$(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(LDFLAGS)

FMLTP_SRC := $(wildcard fmltp/*.c)
PRIVSEP_SRC := privsep/channel.c privsep/message.c privsep/roles.c \
	privsep/sandbox_linux.c privsep/start.c privsep/build_id.c privsep/main.c
AUTHENTICATOR_SRC := privsep/authenticator.c privsep/turns.c
DAEMON_SRC := $(wildcard master/*.c keys/*.c paramgen/*.c auth/*.c) \
	$(PRIVSEP_SRC) $(AUTHENTICATOR_SRC) privsep/users.c \
	privsep/roles_daemon.c privsep/sandbox_table.c privsep/sandbox_filter.c
PAM_SRC := $(wildcard pam/*.c) $(PRIVSEP_SRC) $(AUTHENTICATOR_SRC) \
	privsep/roles_pam.c
WORKER_SRC := $(wildcard worker/*.c) $(PRIVSEP_SRC) privsep/roles_worker.c
CLIENT_SRC := $(wildcard client/*.c)
CTL_SRC	:= $(wildcard ctl/*.c) privsep/users.c privsep/message.c privsep/roles.c

obj = $(patsubst %.c,$(B)/%.o,$(1))
FMLTP_LIB := $(B)/libfmltp.a
PROGRAMS := $(B)/flexmusicd $(B)/flexmusicd-worker $(B)/flexmusicd-pam \
	$(B)/flexmusic $(B)/flexmusicctl

DAEMON_LIBS = $(shell $(PKG_CONFIG) --libs libbsd-overlay libcrypto libseccomp \
	libevent_core libconfuse) -lcrypt
CLIENT_LIBS = $(shell $(PKG_CONFIG) --libs libbsd-overlay libcrypto)
CTL_LIBS = $(shell $(PKG_CONFIG) --libs libbsd-overlay libcrypto libconfuse) \
	-lcrypt
# The sanitizers' crypt(3) calls the one that it finds at the start: pam_unix
# would bring it too late.
PAM_LIBS = $(shell $(PKG_CONFIG) --libs libbsd-overlay libcrypto libevent_core) \
	-lpam $(if $(SANITIZE),-Wl$(comma)--no-as-needed -lcrypt)
comma	:= ,
ifeq ($(STATIC)$(SANITIZE),yes)
WORKER_LINK = -static-pie
WORKER_LIBS = $(shell $(PKG_CONFIG) --static --libs libbsd-overlay libcrypto)
else
WORKER_LINK = -pie
WORKER_LIBS = $(shell $(PKG_CONFIG) --libs libbsd-overlay libcrypto)
endif

# Version and directories are known to these alone, which are built again
# where another PREFIX or SYSCONFDIR is given.
NAMES	:= -DFLEXMUSIC_VERSION='"$(VERSION)"' \
	-DLIBEXECDIR='"$(LIBEXECDIR)"' -DSYSCONFDIR='"$(SYSCONFDIR)"'
NAMED	:= $(call obj,master/daemon.c master/master.c master/config_keys.c client/main.c \
	ctl/main.c ctl/settings.c)

# `make V=1` prints whole commands.
Q = $(if $(V),,@)
say = @$(if $(V),:,printf '  %-4s %s\n' '$(1)' '$(2)')

.PHONY: FORCE print-flags all check coverage demo run bench install uninstall clean help format fuzz deps deps-demo docs
.DEFAULT_GOAL := all

all: $(PROGRAMS)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(if $(COVERAGE),-mllvm \
	    -runtime-counter-relocation=true) -c $< -o $@

$(NAMED): CPPFLAGS_ALL += $(NAMES)
$(NAMED): $(B)/names

$(B)/names: FORCE
	@mkdir -p $(@D)
	@echo "$(NAMES)" | cmp -s - $@ || echo "$(NAMES)" > $@

BUILD_SOURCES := $(sort $(wildcard fmltp/*.[ch] privsep/*.[ch] master/*.[ch] \
	worker/*.[ch] keys/*.[ch] paramgen/*.[ch] auth/*.[ch] pam/*.[ch])) \
	Makefile

# All server programs carry the hash of what they were built from.
$(B)/build_id.h: $(BUILD_SOURCES)
	@mkdir -p $(@D)
	@{ printf '#define BUILD_ID '; cat $(BUILD_SOURCES) | sha256sum | \
	    cut -c1-64 | sed 's/../0x&, /g'; } > $@

$(B)/privsep/build_id.o: $(B)/build_id.h
$(B)/privsep/build_id.o: CPPFLAGS_ALL += -I$(B)

$(FMLTP_LIB): $(call obj,$(FMLTP_SRC))
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcs $@ $^

$(B)/flexmusicd: $(call obj,$(DAEMON_SRC)) $(FMLTP_LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -pie $^ -o $@ $(LDFLAGS_ALL) $(DAEMON_LIBS)

$(B)/flexmusicd-worker: $(call obj,$(WORKER_SRC)) $(FMLTP_LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(WORKER_LINK) $^ -o $@ $(LDFLAGS_ALL) \
	    -Wl,--gc-sections $(WORKER_LIBS)

$(B)/flexmusicd-pam: $(call obj,$(PAM_SRC)) $(FMLTP_LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -pie $^ -o $@ $(LDFLAGS_ALL) $(PAM_LIBS)

$(B)/flexmusic: $(call obj,$(CLIENT_SRC)) $(FMLTP_LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -pie $^ -o $@ $(LDFLAGS_ALL) $(CLIENT_LIBS)

$(B)/flexmusicctl: $(call obj,$(CTL_SRC)) $(FMLTP_LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -pie $^ -o $@ $(LDFLAGS_ALL) $(CTL_LIBS)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
include tests/tests.mk
-include bench/bench.mk

MAN := man/flexmusicd.8 man/flexmusicctl.8 man/flexmusicd.conf.5 man/flexmusic.1
DOCS := README.md LICENSE docs/FMLTP.md docs/ARCHITECTURE.md docs/SECURITY.md
# Examples, for an administrator to copy.
EXAMPLES := fail2ban/filter.d/flexmusicd.conf fail2ban/jail.d/flexmusicd.conf \
	flexmusicd.service.d/pam.conf flexmusicd.service.d/socket.conf \
	apparmor.d/flexmusicd apparmor.d/local/flexmusicd
# Pages, units and examples say where this installation has its files.
place = sed 's|/usr/local/libexec/|$(LIBEXECDIR)/|g; \
	s|/usr/local/sbin/|$(SBINDIR)/|g; s|/etc/flexmusic/|$(SYSCONFDIR)/flexmusic/|g'

# Programs, pages, documents, the unit and its users; the configuration only
# where there is none yet.  Nothing is started and no account is made.
install: all
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(BINDIR) \
	    $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(MANDIR)/man1 \
	    $(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(MANDIR)/man8 \
	    $(DESTDIR)$(DOCDIR)/docs $(DESTDIR)$(SYSCONFDIR)/flexmusic \
	    $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSUSERSDIR) \
	    $(DESTDIR)$(TMPFILESDIR)
	install -m 755 $(B)/flexmusicd $(B)/flexmusicctl $(DESTDIR)$(SBINDIR)
	install -m 755 $(B)/flexmusic $(DESTDIR)$(BINDIR)
	install -m 755 $(B)/flexmusicd-worker $(B)/flexmusicd-pam \
	    $(DESTDIR)$(LIBEXECDIR)
	for page in $(MAN); do \
	    $(place) $$page > $(B)/placed && install -m 644 $(B)/placed \
	    $(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/} || exit 1; \
	done
	for file in $(DOCS); do \
	    install -m 644 $$file $(DESTDIR)$(DOCDIR)/$$file || exit 1; \
	done
	for file in $(EXAMPLES); do \
	    $(place) etc/$$file > $(B)/placed && install -D -m 644 $(B)/placed \
	    $(DESTDIR)$(DOCDIR)/$$file || exit 1; \
	done
	[ -e $(DESTDIR)$(SYSCONFDIR)/flexmusic/flexmusicd.conf ] || \
	    install -m 644 etc/flexmusicd.conf \
	    $(DESTDIR)$(SYSCONFDIR)/flexmusic/flexmusicd.conf
	[ -e $(DESTDIR)$(SYSCONFDIR)/pam.d/flexmusic ] || \
	    install -D -m 644 etc/pam.d/flexmusic \
	    $(DESTDIR)$(SYSCONFDIR)/pam.d/flexmusic
	$(place) etc/flexmusicd.service > $(B)/placed
	install -m 644 $(B)/placed $(DESTDIR)$(UNITDIR)/flexmusicd.service
	install -m 644 etc/flexmusicd.socket \
	    $(DESTDIR)$(UNITDIR)/flexmusicd.socket
	install -m 644 etc/flexmusicd.sysusers.conf \
	    $(DESTDIR)$(SYSUSERSDIR)/flexmusicd.conf
	install -m 644 etc/flexmusicd.tmpfiles.conf \
	    $(DESTDIR)$(TMPFILESDIR)/flexmusicd.conf
	rm -f $(B)/placed

# The configuration and the state stay.
uninstall:
	rm -f $(DESTDIR)$(SBINDIR)/flexmusicd $(DESTDIR)$(SBINDIR)/flexmusicctl \
	    $(DESTDIR)$(BINDIR)/flexmusic \
	    $(DESTDIR)$(LIBEXECDIR)/flexmusicd-worker \
	    $(DESTDIR)$(LIBEXECDIR)/flexmusicd-pam \
	    $(DESTDIR)$(UNITDIR)/flexmusicd.service \
	    $(DESTDIR)$(UNITDIR)/flexmusicd.socket \
	    $(DESTDIR)$(SYSUSERSDIR)/flexmusicd.conf \
	    $(DESTDIR)$(TMPFILESDIR)/flexmusicd.conf \
	    $(addprefix $(DESTDIR)$(DOCDIR)/,$(DOCS) $(EXAMPLES)) \
	    $(foreach p,$(MAN),$(DESTDIR)$(MANDIR)/man$(subst .,,$(suffix $p))/$(notdir $p))
	-rmdir $(addprefix $(DESTDIR)$(DOCDIR)/,docs fail2ban/filter.d \
	    fail2ban/jail.d fail2ban flexmusicd.service.d apparmor.d/local \
	    apparmor.d) $(DESTDIR)$(DOCDIR)

# For the tests: with which flags the second compiler is to look.
print-flags:
	@echo $(filter-out -MMD -MP,$(CPPFLAGS_ALL) $(NAMES) $(CFLAGS_ALL))

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

clean:
	rm -rf build

help:
	@echo 'make            the programs, in build/'
	@echo 'make demo       a private server and two clients, explained'
	@echo 'make check      all tests; ONLY=pattern or SUITES="interop start" some'
	@echo 'make run        the server in the foreground, 127.0.0.1 port 8900'
	@echo 'make bench      what a connection costs, against its limits'
	@echo 'make docs       the tables of docs/SECURITY.md, from the source'
	@echo 'make coverage   which lines the tests run, in build/coverage/'
	@echo 'make fuzz       the fuzzers, FUZZ_SECONDS=10 each; FUZZ="stream users" some'
	@echo 'make fuzz-coverage  what the kept corpus reaches; fuzz-corpus makes it anew'
	@echo 'make fuzz-server    mutated packets to a real server, FUZZ_SECONDS=10'
	@echo 'make soak       64 clients, good and bad, SOAK_SECONDS=600; needs root'
	@echo 'make analyze    what gcc, clang, clang-tidy and cppcheck find; -j2'
	@echo 'make valgrind   the pure unit tests under memcheck'
	@echo 'make install    DESTDIR=, PREFIX=/usr/local, SYSCONFDIR=/etc'
	@echo 'make uninstall  leaves configuration and state'
	@echo 'make clean      removes build/'
	@echo
	@echo 'SANITIZE=address,undefined builds with sanitizers (also check);'
	@echo 'STATIC=no links flexmusicd-worker dynamically; V=1 shows commands.'
