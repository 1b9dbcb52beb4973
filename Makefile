# SPDX-License-Identifier: MIT
#
# make run      install what is missing, start private MariaDB servers and sherd-server over them
# make check    build and run every test
# make help     the rest

NODES  ?= 2
LISTEN ?= 127.0.0.1:8080
VAR    ?= var
PREFIX ?= /usr/local
BUILD  ?= build

CC       ?= cc
CFLAGS   ?= -O2 -g
WARNINGS  = -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
LLHTTP    = /usr/share/llhttp
# llhttp's own default is a build that accepts what smuggles requests.
LLHTTP_FLAGS = -I/usr/share/include/llhttp -DLLHTTP_STRICT_MODE=1
PACKAGES  = libmariadb libevent_core jansson libxml-2.0 libsodium libssl libcrypto zlib
ALL_CFLAGS  = -std=c11 -D_GNU_SOURCE -I. $(LLHTTP_FLAGS) $(PACKAGE_CFLAGS) $(WARNINGS) $(CFLAGS)
ALL_LDFLAGS = $(CFLAGS) $(LDFLAGS)
LIBS = $(PACKAGE_LIBS) -linih -lpthread

# Asked once, and only where something is compiled: `make run` installs pkg-config first.
PACKAGE_CFLAGS = $(eval PACKAGE_CFLAGS := $(shell pkg-config --cflags $(PACKAGES)))$(PACKAGE_CFLAGS)
PACKAGE_LIBS = $(eval PACKAGE_LIBS := $(shell pkg-config --libs $(PACKAGES)))$(PACKAGE_LIBS)

base_c   = $(wildcard base/*.c)
conf_c   = $(wildcard conf/*.c)
store_c  = $(wildcard store/core/*.c store/*.c)
server_c = $(filter-out server/main.c,$(wildcard server/*.c))
sync_c   = $(filter-out sync/main.c,$(wildcard sync/*.c))
mains_c  = server/main.c sync/main.c
parts_c  = $(base_c) $(conf_c) $(store_c) $(server_c) $(sync_c)
headers  = $(wildcard base/*.h conf/*.h store/core/*.h store/*.h server/*.h sync/*.h bench/*.h)
tests_c  = $(wildcard tests/base/*.c tests/conf/*.c tests/store/*.c tests/store/core/*.c tests/server/*.c tests/sync/*.c)
sources  = $(parts_c) $(mains_c) $(tests_c) $(wildcard tests/fuzz/*.c tests/fail/*.c bench/*.c)

object = $(patsubst %.c,$(BUILD)/%.o,$(1))
library_o = $(call object,$(parts_c)) \
            $(BUILD)/llhttp/api.o $(BUILD)/llhttp/http.o $(BUILD)/llhttp/llhttp.o
unit_tests = $(patsubst tests/%.c,$(BUILD)/tests/%,$(tests_c))

# V=1 shows the commands.
quiet = $(if $(V),,@echo "  $(1)  $@";)

.PHONY: all
all: $(BUILD)/sherd-server $(BUILD)/sherd-sync

$(BUILD)/sherd-%: $(BUILD)/%/main.o $(BUILD)/libsherd.a
	$(call quiet,link)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# The programs and the tests take from it what they need.
$(BUILD)/libsherd.a: $(library_o)
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/%.o: %.c | packages-build
	@mkdir -p $(@D)
	$(call quiet,cc  )$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# It has them inside.
$(BUILD)/server/page.o: $(wildcard web/*)

$(BUILD)/llhttp/%.o: | packages-build
	@mkdir -p $(@D)
	$(call quiet,cc  )$(CC) $(LLHTTP_FLAGS) $(CFLAGS) -c -o $@ $(LLHTTP)/$*.c

# The clients of the benchmark.
$(BUILD)/bench/%: $(BUILD)/bench/%.o $(BUILD)/libsherd.a
	$(call quiet,link)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) -lm

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/libsherd.a
	$(call quiet,link)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(LIBS)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

.SECONDARY:
.PHONY: packages-build packages-nodes packages-check
packages-build packages-nodes packages-check: packages-%:
	@tools/packages $*

# ---------------------------------------------------------------- running

# The nodes are initialised while the server is compiled.
.PHONY: run
run: packages-build packages-nodes
	@mkdir -p "$(VAR)"
	@tools/nodes start --count $(NODES) --dir "$(VAR)" & $(MAKE) --no-print-directory -j2 all && wait $$!
	@exec tools/run --count $(NODES) --dir "$(VAR)" --listen $(LISTEN)

.PHONY: install uninstall
install: all
	for p in sherd-server sherd-sync; do install -D -m 755 $(BUILD)/$$p "$(DESTDIR)$(PREFIX)/bin/$$p" || exit; done
	install -D -m 644 configuration.cfg "$(DESTDIR)$(PREFIX)/share/sherd/configuration.cfg"
	install -D -m 644 database_definition.sql "$(DESTDIR)$(PREFIX)/share/sherd/database_definition.sql"
	for f in tools/sherd.service tools/sherd-sync.*; do install -D -m 644 $$f "$(DESTDIR)$(PREFIX)/share/sherd/$${f#tools/}" || exit; done
	for f in docs/*.md docs/page/*.png; do install -D -m 644 $$f "$(DESTDIR)$(PREFIX)/share/doc/sherd/$${f#docs/}" || exit; done

uninstall:
	rm -f "$(DESTDIR)$(PREFIX)/bin/sherd-server" "$(DESTDIR)$(PREFIX)/bin/sherd-sync"
	rm -rf "$(DESTDIR)$(PREFIX)/share/sherd" "$(DESTDIR)$(PREFIX)/share/doc/sherd"

# ---------------------------------------------------------------- checking

.PHONY: check tests
check: packages-build packages-nodes packages-check
	@$(MAKE) --no-print-directory -j2 all tests
	@tools/check "$(BUILD)"

# Sanitizers bring an allocator of their own: no calls fail there on purpose.
tests: $(unit_tests) $(if $(findstring sanitize,$(CFLAGS)),,$(BUILD)/tests/fail.so)

$(BUILD)/tests/fail.so: tests/fail/fail.c
	@mkdir -p $(@D)
	$(call quiet,link)$(CC) $(ALL_CFLAGS) -fPIC -shared -o $@ $< -ldl

# The page in a real browser. CHROMIUM chooses another one than Debian's.
.PHONY: check-page page-screenshots
check-page page-screenshots: packages-build packages-nodes
	@tools/packages page
	@$(MAKE) --no-print-directory -j2 all
	@SHERD_SERVER=$${SHERD_SERVER:-$(abspath $(BUILD))/sherd-server} \
	  python3 tests/page/run.py $(if $(filter page-screenshots,$@),--screenshots docs/page,$(TESTS))

# The proof under faults: `make faults` one schedule, SEED=n which; SEEDS=20 the night run; FAULT=a,b only these.
# SHERD_SERVER and SHERD_SYNC choose other binaries, sanitized ones for example.
.PHONY: faults
faults: packages-build packages-nodes
	@tools/packages check faults
	@$(MAKE) --no-print-directory -j2 all
	@SHERD_SERVER=$${SHERD_SERVER:-$(abspath $(BUILD))/sherd-server} SHERD_SYNC=$${SHERD_SYNC:-$(abspath $(BUILD))/sherd-sync} \
	  python3 tests/faults/run.py $(if $(SEEDS),--seeds $(SEEDS),--seed $(or $(SEED),1)) $(if $(FAULT),--only $(FAULT))

# The corpus of raw requests through nginx and haproxy. CATEGORIES=framing,chunks for some of it.
.PHONY: check-proxies
check-proxies: packages-build packages-nodes
	@tools/packages check examples
	@$(MAKE) --no-print-directory -j2 all
	@SHERD_SERVER=$${SHERD_SERVER:-$(abspath $(BUILD))/sherd-server} \
	  python3 tests/proxies/run.py $(if $(CATEGORIES),--only $(CATEGORIES))

# Slow and many clients, no descriptors: what others notice. ATTACK="--only idle" and the like.
.PHONY: attack
attack: packages-build packages-nodes
	@tools/packages attack
	@$(MAKE) --no-print-directory -j2 all $(BUILD)/bench/rate
	@BUILD="$(abspath $(BUILD))" SHERD_SERVER=$${SHERD_SERVER:-$(abspath $(BUILD))/sherd-server} \
	  python3 tests/attack/run.py $(ATTACK)

# The applications in examples/, with daemons, partitions and workers that die.
.PHONY: check-examples
check-examples: packages-build packages-nodes
	@tools/packages examples
	@$(MAKE) --no-print-directory -j2 all
	@SHERD_SERVER=$${SHERD_SERVER:-$(abspath $(BUILD))/sherd-server} SHERD_SYNC=$${SHERD_SYNC:-$(abspath $(BUILD))/sherd-sync} \
	  python3 -m unittest discover --start-directory tests/examples --verbose

# database_definition.sql says for two databases what store/sql/schema.sql says once.
.PHONY: definition
definition:
	@tools/definition >database_definition.sql

.PHONY: check-layers check-headers
check-layers:
	@tools/check-layers

# Every header compiles alone.
check-headers: packages-build
	@for h in $(headers); do $(CC) $(ALL_CFLAGS) -Werror -fsyntax-only -x c $$h || exit 1; done
	@echo "check-headers: $(words $(headers)) headers compile alone"

.PHONY: lint format
lint: packages-build check-layers check-headers
	@tools/packages lint check
	clang-format --dry-run --Werror $(sources) $(headers)
	cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability \
	  --inline-suppr --suppress=missingIncludeSystem -I. $(parts_c) $(mains_c)
	clang-tidy --quiet $(parts_c) $(mains_c) -- $(ALL_CFLAGS)

format:
	@tools/packages lint
	clang-format -i $(sources) $(headers)

SANITIZE = -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer

# All tests under AddressSanitizer and UndefinedBehaviorSanitizer.
.PHONY: check-sanitized
check-sanitized:
	@$(MAKE) --no-print-directory check BUILD=$(BUILD)/sanitized CFLAGS="$(SANITIZE)"

# All tests under ThreadSanitizer.
.PHONY: check-threads
check-threads:
	@TSAN_OPTIONS="suppressions=$(CURDIR)/tests/threads.suppressions" $(MAKE) --no-print-directory check \
	  BUILD=$(BUILD)/threads CFLAGS="-O1 -g -fsanitize=thread"

# The unit tests under valgrind, which brings an allocator of its own, too.
.PHONY: check-valgrind
check-valgrind: packages-build packages-check
	@tools/packages smoke
	@$(MAKE) --no-print-directory -j2 BUILD=$(BUILD)/valgrind CFLAGS="-O1 -g -DOWN_ALLOCATOR=0" tests
	@tools/check-valgrind "$(BUILD)/valgrind"

FUZZ_SECONDS ?= 600
fuzzers = $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))

.PHONY: fuzz
fuzz:
	@tools/packages build nodes check fuzz
	@$(MAKE) --no-print-directory -j2 BUILD=$(BUILD)/fuzzed CC=clang \
	  CFLAGS="-O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined" fuzzers
	@AFL_QUIET=1 AFL_USE_ASAN=1 AFL_USE_UBSAN=1 $(MAKE) --no-print-directory -j2 BUILD=$(BUILD)/afl CC=afl-clang-fast CFLAGS="-O1 -g" \
	  $(BUILD)/afl/fuzz/socket
	@tools/fuzz "$(BUILD)/fuzzed" "$(BUILD)/afl" $(FUZZ_SECONDS)

.PHONY: fuzzers
fuzzers: $(fuzzers)

$(BUILD)/fuzz/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/libsherd.a
	@mkdir -p $(@D)
	$(call quiet,link)$(CC) $(CFLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS)

$(BUILD)/fuzz/socket: $(BUILD)/tests/fuzz/socket.o $(BUILD)/libsherd.a
	@mkdir -p $(@D)
	$(call quiet,link)$(CC) $(CFLAGS) -o $@ $^ $(LIBS)

# Without a umask: a server that has become another user writes its counts, too.
.PHONY: coverage
coverage:
	@tools/packages coverage
	@umask 0; SHERD_TEST_COVERAGE=yes $(MAKE) --no-print-directory check BUILD=$(BUILD)/coverage \
	  CFLAGS="-O0 -g -DNDEBUG --coverage -fprofile-update=atomic"
	@gcovr --root . --filter '(base|conf|store|server|sync)/' --exclude-unreachable-branches \
	  --json-summary $(BUILD)/coverage/summary.json --html-details $(BUILD)/coverage/coverage.html $(BUILD)/coverage
	@tools/coverage $(BUILD)/coverage/summary.json

.PHONY: bench
bench:
	@tools/packages build nodes check bench
	@$(MAKE) --no-print-directory -j2 all bench-clients
	@BUILD=$(BUILD) bench/run $(BENCH)

.PHONY: bench-clients
bench-clients: $(BUILD)/bench/direct $(BUILD)/bench/rate $(BUILD)/bench/rows

# What a row of a batch costs the database, beside a plain upsert. BENCH="--rounds 9" and the like.
.PHONY: bench-database
bench-database: packages-build packages-nodes
	@$(MAKE) --no-print-directory -j2 all bench-clients
	@BUILD=$(BUILD) bench/database $(BENCH)

# Many members: balance, movement, and the time that the tables take.
.PHONY: bench-ring
bench-ring: $(BUILD)/bench/ring
	@$<

# Instructions a request, against those in bench/smoke.json; RECORD=yes writes them anew.
.PHONY: bench-smoke
bench-smoke:
	@tools/packages build nodes check smoke
	@$(MAKE) --no-print-directory -j2 all
	@BUILD=$(BUILD) bench/smoke $(if $(RECORD),--record)

.PHONY: clean help
clean:
	rm -rf $(BUILD)

help:
	@echo 'make run              private servers in VAR=$(VAR), NODES=$(NODES), LISTEN=$(LISTEN)'
	@echo 'make check            every test            make check-sanitized   the same under ASan and UBSan'
	@echo 'make check-page       the page in Chromium, TESTS=tests/page/test_live.mjs for one; page-screenshots for its pictures'
	@echo 'make faults           a schedule of faults SEED=1, SEEDS=20 for many, FAULT=... only these'
	@echo 'make check-examples   the tests of examples/'
	@echo 'make check-proxies    the corpus of raw requests through nginx and haproxy'
	@echo 'make check-threads    all of it under ThreadSanitizer        make check-valgrind   the unit tests under valgrind'
	@echo 'make attack           slow and many clients: what others notice'
	@echo 'make fuzz             each fuzzer for FUZZ_SECONDS=$(FUZZ_SECONDS)'
	@echo 'make bench            beside its peers    make bench-smoke       instructions a request, RECORD=yes'
	@echo 'make bench-database   what a row of a batch costs the database'
	@echo 'make bench-ring       what a store of many members looks like'
	@echo 'make lint format check-layers check-headers coverage'
	@echo 'make definition       database_definition.sql, from store/sql/schema.sql'
	@echo 'make install uninstall DESTDIR= PREFIX=$(PREFIX)'
