/*
 * compat.h
 *	  The only file that looks at PG_VERSION_NUM.
 */
#ifndef NEURAL_COMPAT_H
#define NEURAL_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "neural needs PostgreSQL 15 or later"
#endif

#endif /* NEURAL_COMPAT_H */
