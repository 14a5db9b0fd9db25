# The engine's source files, for the extension's Makefile and for test/Makefile.
# All kernels of one SIMD level are one file, compiled with that level's flags.

NN_LAYER_SRCS = $(sort $(wildcard $(NN_DIR)layers/*.c))
NN_SRCS = $(filter-out $(NN_DIR)simd_%.c,$(sort $(wildcard $(NN_DIR)*.c))) \
	$(NN_LAYER_SRCS)

NN_CFLAGS = -fvisibility=hidden -fno-math-errno -fno-trapping-math \
	-ffp-contract=off

NN_MACHINE := $(shell $(CC) -dumpmachine)
ifneq ($(filter x86_64-%,$(NN_MACHINE)),)
NN_SIMD_SRCS = $(NN_DIR)simd_avx2.c $(NN_DIR)simd_avx512.c
endif
NN_AVX2_CFLAGS = -mavx2 -mfma
NN_AVX512_CFLAGS = -mavx512f -mavx512vl -mavx512dq -mavx512bw -mfma \
	-mprefer-vector-width=512
