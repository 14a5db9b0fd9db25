/*
 * settings.h
 *	  The settings of a session that decide what a training does.
 *
 * They are kept with a request to train, so that it means the same when
 * another session repeats it: names in its query are found in the same
 * schemas, literals read the same, and the default network is planned for the
 * same time.
 */
#ifndef NEURAL_SETTINGS_H
#define NEURAL_SETTINGS_H

#include "neural.h"

#include "utils/jsonb.h"

/* Those of this session, as JSON. */
extern const char *neural_settings_json(void);

/*
 * Set them, until the caller's GUC nest level ends.  Only what anybody may
 * set is set; NULL and what is no setting of ours are ignored.
 */
extern void neural_settings_apply(Jsonb *settings);

#endif /* NEURAL_SETTINGS_H */
