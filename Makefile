# neural: train neural networks on tables and predict with them in queries.
#
#	make && make install && make installcheck
#
# OpenBLAS is used where its header is found, not that of another BLAS; BLAS=0
# leaves it out.  The CUDA provider is built where nvcc is found, for the
# architectures of CUDA_ARCHS; CUDA=0 leaves it out.  WERROR=-Werror makes
# warnings errors, as the tests do.
# Tests that need no server: make -C test unit cuda.  Everything: ./scripts/test.

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
ISOLATION = $(notdir $(basename $(sort $(wildcard test/isolation/specs/*.spec))))
ISOLATION_OPTS = --inputdir=test/isolation

# The one library that links to a BLAS; opened on demand.
BLAS ?= $(shell printf '\#include <cblas.h>\nchar *(*f)(void) = openblas_get_corename;\n' | $(CC) -fsyntax-only -x c - >/dev/null 2>&1 && echo 1 || echo 0)
ifeq ($(BLAS),1)
BLAS_LIB = neural_blas$(DLSUFFIX)
endif

# The one library that knows CUDA; opened on demand.  It brings the runtime
# along, and needs nothing but the driver.  Newer GPUs compile the PTX.
NVCC ?= nvcc
CUDA ?= $(shell command -v $(NVCC) >/dev/null 2>&1 && echo 1 || echo 0)
CUDA_ARCHS ?= 75 80 86 89 90
CUDA_OBJS = $(patsubst %.cu,%.o,$(sort $(wildcard cuda/*.cu)))
CUDA_FLAGS = -std=c++17 -O3 -fmad=false --extended-lambda \
	-Werror all-warnings -Xcompiler -fPIC,-fvisibility=hidden,-Wall,-Wextra,-Werror \
	$(foreach arch,$(CUDA_ARCHS),-gencode arch=compute_$(arch),code=sm_$(arch)) \
	-gencode arch=compute_$(lastword $(CUDA_ARCHS)),code=compute_$(lastword $(CUDA_ARCHS))
ifeq ($(CUDA),1)
CUDA_LIB = neural_cuda$(DLSUFFIX)
endif
EXTRA_CLEAN = neural_blas.so src/blas/blas.o neural_cuda.so $(CUDA_OBJS) test/build

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)

# None of this is worth inlining into queries.
override with_llvm = no

include $(PGXS)

override CFLAGS += -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-clobbered $(WERROR) -fvisibility=hidden

$(NN_OBJS): CFLAGS += -O3 $(NN_CFLAGS)
src/nn/simd_avx2.o: CFLAGS += $(NN_AVX2_CFLAGS)
src/nn/simd_avx512.o: CFLAGS += $(NN_AVX512_CFLAGS)

# Headers are few and shared by all: any change rebuilds all.
$(OBJS) src/blas/blas.o: $(wildcard src/pg/*.h src/nn/*.h)

$(CUDA_OBJS): $(wildcard cuda/*.h) $(patsubst %,src/nn/%.h,nn error random device formula)

all: $(BLAS_LIB) $(CUDA_LIB)

neural_blas$(DLSUFFIX): src/blas/blas.o
	$(CC) $(CFLAGS) $(LDFLAGS) $(LDFLAGS_SL) -shared -o $@ $< -lopenblas

cuda/%.o: cuda/%.cu
	$(NVCC) $(CUDA_FLAGS) -c -o $@ $<

neural_cuda$(DLSUFFIX): $(CUDA_OBJS) src/nn/error.o
	$(NVCC) -shared -cudart static -Xlinker --exclude-libs,ALL -o $@ $^ -lpthread -ldl

.PHONY: gpucheck
gpucheck:
	@NVCC=$(NVCC) ./scripts/gpucheck

install: install-providers
.PHONY: install-providers
install-providers: $(BLAS_LIB) $(CUDA_LIB) | installdirs
ifneq ($(BLAS_LIB)$(CUDA_LIB),)
	$(INSTALL_SHLIB) $(BLAS_LIB) $(CUDA_LIB) '$(DESTDIR)$(pkglibdir)/'
endif
