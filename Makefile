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
PACKAGES  = libmariadb libevent_core jansson libxml-2.0 libsodium zlib
ALL_CFLAGS  = -std=c11 -D_GNU_SOURCE -I. $(LLHTTP_FLAGS) $(PACKAGE_CFLAGS) $(WARNINGS) $(CFLAGS)
ALL_LDFLAGS = $(CFLAGS) $(LDFLAGS)
LIBS = $(PACKAGE_LIBS) -linih -lpthread

# Asked once, and only where something is compiled: `make run` installs pkg-config first.
PACKAGE_CFLAGS = $(eval PACKAGE_CFLAGS := $(shell pkg-config --cflags $(PACKAGES)))$(PACKAGE_CFLAGS)
PACKAGE_LIBS = $(eval PACKAGE_LIBS := $(shell pkg-config --libs $(PACKAGES)))$(PACKAGE_LIBS)

base_c   = $(wildcard base/*.c)
conf_c   = $(wildcard conf/*.c)
store_c  = $(wildcard store/*.c)
server_c = $(filter-out server/main.c,$(wildcard server/*.c))
headers  = $(wildcard base/*.h conf/*.h store/*.h server/*.h)
tests_c  = $(wildcard tests/base/*.c tests/conf/*.c tests/store/*.c tests/server/*.c)
sources  = $(base_c) $(conf_c) $(store_c) $(server_c) server/main.c $(tests_c) $(wildcard tests/fuzz/*.c bench/*.c)

object = $(patsubst %.c,$(BUILD)/%.o,$(1))
library_o = $(call object,$(base_c) $(conf_c) $(store_c) $(server_c)) \
            $(BUILD)/llhttp/api.o $(BUILD)/llhttp/http.o $(BUILD)/llhttp/llhttp.o
unit_tests = $(patsubst tests/%.c,$(BUILD)/tests/%,$(tests_c))

.PHONY: all
all: $(BUILD)/sherd-server

$(BUILD)/sherd-server: $(call object,server/main.c) $(BUILD)/libsherd.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# Both programs and all tests take from it what they need.
$(BUILD)/libsherd.a: $(library_o)
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/%.o: %.c | packages-build
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/llhttp/%.o: | packages-build
	@mkdir -p $(@D)
	$(CC) $(LLHTTP_FLAGS) $(CFLAGS) -c -o $@ $(LLHTTP)/$*.c

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/libsherd.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(LIBS)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

.PHONY: packages-build
packages-build:
	@tools/packages build
