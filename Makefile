# neural: train neural networks on tables and predict with them in queries.
#
#	make && make install && make installcheck
#
# OpenBLAS is used where its header is found; BLAS=0 leaves it out.  Tests that
# need no server: make -C test unit.  Everything: ./scripts/test.

EXTENSION = extension/neural
DATA = extension/neural--0.1.sql

MODULE_big = neural
NN_DIR = src/nn/
include $(NN_DIR)sources.mk
PG_SRCS = $(sort $(wildcard src/pg/*.c))
NN_OBJS = $(patsubst %.c,%.o,$(NN_SRCS) $(NN_SIMD_SRCS))
OBJS = $(patsubst %.c,%.o,$(PG_SRCS)) $(NN_OBJS)
PG_CPPFLAGS = -I$(CURDIR)/src/pg
SHLIB_LINK = -lpthread -ldl -lm

REGRESS = $(notdir $(basename $(sort $(wildcard sql/*.sql))))
REGRESS_OPTS = --inputdir=. --load-extension=neural

# The one library that links to a BLAS; opened on demand.
BLAS ?= $(shell echo '\#include <cblas.h>' | $(CC) -E -x c - >/dev/null 2>&1 && echo 1 || echo 0)
ifeq ($(BLAS),1)
BLAS_LIB = neural_blas$(DLSUFFIX)
endif
EXTRA_CLEAN = neural_blas.so src/blas/blas.o test/build

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)

# None of this is worth inlining into queries.
override with_llvm = no

include $(PGXS)

override CFLAGS += -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-clobbered -Werror -fvisibility=hidden

$(NN_OBJS): CFLAGS += -O3 $(NN_CFLAGS)
src/nn/simd_avx2.o: CFLAGS += $(NN_AVX2_CFLAGS)
src/nn/simd_avx512.o: CFLAGS += $(NN_AVX512_CFLAGS)

# Headers are few and shared by all: any change rebuilds all.
$(OBJS) src/blas/blas.o: $(wildcard src/pg/*.h src/nn/*.h)

all: $(BLAS_LIB)

neural_blas$(DLSUFFIX): src/blas/blas.o
	$(CC) $(CFLAGS) $(LDFLAGS) $(LDFLAGS_SL) -shared -o $@ $< -lopenblas

install: install-blas
.PHONY: install-blas
install-blas: $(BLAS_LIB) | installdirs
ifneq ($(BLAS_LIB),)
	$(INSTALL_SHLIB) $(BLAS_LIB) '$(DESTDIR)$(pkglibdir)/'
endif
