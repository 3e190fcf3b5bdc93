/*-------------------------------------------------------------------------
 *
 * signature.h
 *	  Is a delta what its device wrote: checksum and signature.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_SIGNATURE_H
#define OFFLINE_SYNC_SIGNATURE_H

#include "registry/device.h"
#include "types/delta.h"

typedef struct SealProblem
{
	const char *reason;			/* a word for programs */
	int			sqlstate;
	const char *message;		/* for people */
} SealProblem;

/*
 * Check what a pushed delta says of itself, before anything else is done with it: its
 * checksum where it has one, its signature where it has one and the device a key, or
 * where the device must sign.  The device must have been locked, so that its keys are
 * those of now.  False where the delta is not to be taken; costs nothing where there is
 * nothing to check.
 */
extern bool signature_check(const SyncDevice *device, const DeltaData *delta,
							const DeltaHeader *header, SealProblem *problem);

#endif							/* OFFLINE_SYNC_SIGNATURE_H */
