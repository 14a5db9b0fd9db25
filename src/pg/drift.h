/*
 * drift.h
 *	  How far today's rows are from those that a model was trained on.
 */
#ifndef NEURAL_DRIFT_H
#define NEURAL_DRIFT_H

#include "neural.h"

/*
 * The greatest population stability index of the version's features on these
 * rows, read as the caller; NaN when none is known.
 */
extern double neural_drift_greatest(Oid relid, int version, const char *data);

#endif /* NEURAL_DRIFT_H */
