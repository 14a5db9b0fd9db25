/*
 * layers.c
 *	  The list of layers, and what they share.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "layer.h"

extern const nn_layer_ops nn_layer_activation, nn_layer_add,
	nn_layer_batch_normalization, nn_layer_concatenate, nn_layer_dense,
	nn_layer_dropout, nn_layer_elu, nn_layer_embedding, nn_layer_exponential,
	nn_layer_flatten, nn_layer_gelu, nn_layer_hard_sigmoid, nn_layer_identity,
	nn_layer_layer_normalization, nn_layer_leaky_relu, nn_layer_mish,
	nn_layer_multiply, nn_layer_one_hot, nn_layer_piecewise_linear,
	nn_layer_relu, nn_layer_reshape, nn_layer_scale, nn_layer_selu,
	nn_layer_sigmoid, nn_layer_silu, nn_layer_softmax, nn_layer_softplus,
	nn_layer_softsign, nn_layer_tanh;

const nn_layer_ops *const nn_layers[] = {&nn_layer_input,
										 &nn_layer_dense,
										 &nn_layer_activation,
										 &nn_layer_relu,
										 &nn_layer_leaky_relu,
										 &nn_layer_elu,
										 &nn_layer_selu,
										 &nn_layer_sigmoid,
										 &nn_layer_tanh,
										 &nn_layer_softplus,
										 &nn_layer_softsign,
										 &nn_layer_exponential,
										 &nn_layer_hard_sigmoid,
										 &nn_layer_gelu,
										 &nn_layer_silu,
										 &nn_layer_mish,
										 &nn_layer_softmax,
										 &nn_layer_dropout,
										 &nn_layer_batch_normalization,
										 &nn_layer_layer_normalization,
										 &nn_layer_embedding,
										 &nn_layer_one_hot,
										 &nn_layer_piecewise_linear,
										 &nn_layer_scale,
										 &nn_layer_flatten,
										 &nn_layer_reshape,
										 &nn_layer_add,
										 &nn_layer_multiply,
										 &nn_layer_concatenate,
										 &nn_layer_identity,
										 NULL};

/*
 * Layers of Keras and PyTorch that users may well try.  Saying that they are
 * not offered is kinder than saying that they do not exist.
 */
static const struct
{
	const char *hint;
	const char *const *names;
} elsewhere[] = {
	{"Convolution and pooling are not offered; a network may begin with "
	 "flatten and dense.",
	 (const char *const[]){"Conv1D",
						   "Conv2D",
						   "Conv3D",
						   "Conv1DTranspose",
						   "Conv2DTranspose",
						   "ConvTranspose1d",
						   "ConvTranspose2d",
						   "SeparableConv1D",
						   "SeparableConv2D",
						   "DepthwiseConv1D",
						   "DepthwiseConv2D",
						   "MaxPooling1D",
						   "MaxPooling2D",
						   "MaxPool1d",
						   "MaxPool2d",
						   "AveragePooling1D",
						   "AveragePooling2D",
						   "AvgPool1d",
						   "AvgPool2d",
						   "GlobalAveragePooling1D",
						   "GlobalMaxPooling1D",
						   "GlobalAveragePooling2D",
						   "GlobalMaxPooling2D",
						   "AdaptiveAvgPool1d",
						   "AdaptiveAvgPool2d",
						   "ZeroPadding1D",
						   "ZeroPadding2D",
						   "Cropping1D",
						   "Cropping2D",
						   "UpSampling1D",
						   "UpSampling2D",
						   "SpatialDropout1D",
						   "SpatialDropout2D",
						   NULL}},
	{"Recurrent layers are not offered; columns made with lag() can carry the "
	 "past.",
	 (const char *const[]){"LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional",
						   "TimeDistributed", "Masking", "ConvLSTM2D",
						   "RepeatVector", "Permute", NULL}},
	{"Attention is not offered.",
	 (const char *const[]){"MultiHeadAttention", "Attention",
						   "AdditiveAttention", "GroupQueryAttention",
						   "TransformerEncoder", "TransformerEncoderLayer",
						   "PositionEmbedding", "SinePositionEncoding", NULL}},
	{"Use layer_normalization or batch_normalization.",
	 (const char *const[]){"GroupNormalization", "GroupNorm", "RMSNorm",
						   "RMSNormalization", "UnitNormalization",
						   "SpectralNormalization", "InstanceNorm1d",
						   "BatchNorm2d", "BatchNorm3d", NULL}},
	{"Use dropout.",
	 (const char *const[]){"AlphaDropout", "GaussianDropout", "GaussianNoise",
						   "Dropout1d", "Dropout2d", NULL}},
	{"Use relu, leaky_relu, elu, selu, gelu, silu or mish.",
	 (const char *const[]){"PReLU", "ReLU6", "CELU", "GLU", "RReLU", "Hardtanh",
						   "Hardswish", "hard_silu", "ThresholdedReLU",
						   "LogSigmoid", "LogSoftmax", "log_sigmoid",
						   "Sparsemax", "Squareplus", NULL}},
	{"Use add, multiply or concatenate.",
	 (const char *const[]){"Average", "Maximum", "Minimum", "Subtract", "Dot",
						   "Bilinear", "Lambda", "EinsumDense", NULL}},
	{"Columns are encoded before the network reads them.",
	 (const char *const[]){"Normalization", "StringLookup", "IntegerLookup",
						   "Discretization", "Hashing", "HashedCrossing",
						   "TextVectorization", "Rescaling", "Resizing",
						   "CenterCrop", "RandomFlip", "RandomRotation",
						   "RandomCrop", "RandomZoom", NULL}}};

const nn_layer_ops *
nn_layer_find(const char *name, nn_error *err)
{
	for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++)
		for (const char *const *n = elsewhere[i].names; *n != NULL; n++)
			if (nn_name_equal(*n, name))
			{
				nn_fail(err, NN_UNSUPPORTED, "layer \"%s\" is not supported",
						name);
				nn_hint(err, "%s", elsewhere[i].hint);
				return NULL;
			}
	return nn_named_find("layer", (const void *const *) nn_layers, name, err);
}

bool
nn_layer_fail(const nn_layer *l, nn_error *err, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return nn_fail(err, NN_SHAPE, "layer %d%s%s%s (%s): %s", l->number,
				   l->label ? " \"" : "", l->label ? l->label : "",
				   l->label ? "\"" : "", l->ops->named.name, text);
}

bool
nn_layer_needs_data(const nn_layer *l, nn_error *err)
{
	if (!l->in[0]->learns)
		return true;
	nn_layer_fail(l, err, "its input must be data");
	return nn_hint(err, "Place it after an input layer.");
}

/* How often a parameter's outputs and inputs count, as Keras counts them. */
static void
set_fans(nn_param *p)
{
	const nn_shape *s = &p->shape;

	p->fan_in = p->fan_out = s->dim[s->ndim - 1];
	if (s->ndim > 1)
		p->fan_in = s->dim[s->ndim - 2];
}

nn_param *
nn_layer_param(nn_layer *l, nn_arena *arena, const char *name, nn_shape shape,
			   const nn_item *item, const char *init, nn_error *err)
{
	nn_param *p = &l->param[l->nparam];
	int64_t n = 1;

	for (int i = 0; i < shape.ndim; i++)
		if (__builtin_mul_overflow(n, (int64_t) shape.dim[i], &n) ||
			n > NN_MAX_NUMBERS)
		{
			nn_layer_fail(l, err, "parameter \"%s\" is too large", name);
			err->code = NN_LIMIT;
			return NULL;
		}
	if (item == NULL)
		item = nn_text_parse_item(arena, init, err);
	if (item == NULL || !nn_initializer_check(arena, item, err))
		return NULL;
	*p = (nn_param){.name = name,
					.shape = shape,
					.init = item,
					.trainable = true,
					.rate = 1};
	set_fans(p);
	l->nparam++;
	return p;
}

const char *
nn_shape_text(const nn_shape *s, char *buf, size_t size)
{
	size_t n = (size_t) snprintf(buf, size, "[");

	for (int i = 0; i < s->ndim && n < size; i++)
		n += (size_t) snprintf(buf + n, size - n, "%s%d", i > 0 ? ", " : "",
							   s->dim[i]);
	if (n < size)
		snprintf(buf + n, size - n, "]");
	return buf;
}

const char *const nn_function_names[] = {[NN_LINEAR] = "linear",
										 [NN_RELU] = "relu",
										 [NN_LEAKY_RELU] = "leaky_relu",
										 [NN_ELU] = "elu",
										 [NN_SELU] = "selu",
										 [NN_SIGMOID] = "sigmoid",
										 [NN_TANH] = "tanh",
										 [NN_SOFTPLUS] = "softplus",
										 [NN_SOFTSIGN] = "softsign",
										 [NN_EXPONENTIAL] = "exponential",
										 [NN_HARD_SIGMOID] = "hard_sigmoid",
										 [NN_GELU] = "gelu",
										 [NN_SILU] = "silu",
										 [NN_MISH] = "mish",
										 "none",
										 "identity",
										 "swish",
										 NULL};

nn_function
nn_function_choose(int *choice)
{
	if (*choice >= NN_FUNCTIONS)
		*choice = strcmp(nn_function_names[*choice], "swish") == 0 ? NN_SILU
																   : NN_LINEAR;
	return (nn_function) *choice;
}

double
nn_function_default(nn_function f)
{
	return f == NN_LEAKY_RELU ? 0.2 : f == NN_ELU ? 1 : 0;
}
