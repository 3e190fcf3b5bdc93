/*-------------------------------------------------------------------------
 *
 * hlc.h
 *	  Hybrid logical clock: 48 bits of milliseconds since 1970-01-01 UTC above
 *	  16 bits of counter, in one unsigned 64-bit integer whose natural order
 *	  is the order of the clock.
 *
 * After Kulkarni, Demirbas, Madappa, Avva, Leone: "Logical Physical Clocks",
 * OPODIS 2014.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_HLC_H
#define OFFLINE_SYNC_HLC_H

#include "datatype/timestamp.h"
#include "fmgr.h"

typedef uint64 Hlc;

#define HLC_COUNTER_BITS	16
#define HLC_MAX_COUNTER		UINT64CONST(0xFFFF)
#define HLC_MAX_MS			UINT64CONST(0xFFFFFFFFFFFF)
#define HLC_MIN				((Hlc) 0)
#define HLC_MAX				((Hlc) PG_UINT64_MAX)

#define HLC_MAKE(ms, counter) (((Hlc) (ms) << HLC_COUNTER_BITS) | (Hlc) (counter))
#define HLC_MS(h)			((uint64) ((h) >> HLC_COUNTER_BITS))
#define HLC_COUNTER(h)		((uint32) ((h) & HLC_MAX_COUNTER))

/* longest text form: "10889-08-02T05:31:50.655Z/65535" and its terminator */
#define HLC_TEXT_SIZE		40

#define DatumGetHlc(d)		((Hlc) DatumGetInt64(d))
#define HlcGetDatum(h)		Int64GetDatum((int64) (h))
#define PG_GETARG_HLC(n)	DatumGetHlc(PG_GETARG_DATUM(n))
#define PG_RETURN_HLC(h)	return HlcGetDatum(h)

/* The next clock value: one more on the counter, carrying into the
 * milliseconds.  HLC_MAX stays HLC_MAX. */
static inline Hlc
hlc_successor(Hlc h)
{
	return h == HLC_MAX ? h : h + 1;
}

/* Read the text form from len bytes (need not be terminated).  False where it
 * is not one; *result is set only on success.  Never raises. */
extern bool hlc_parse(const char *str, int len, Hlc *result);

/* Write the canonical text form and a terminator into buf (HLC_TEXT_SIZE
 * bytes); returns its length. */
extern int	hlc_format(Hlc h, char *buf);

/* Convert from and to timestamptz.  hlc_from_timestamptz truncates to
 * milliseconds and raises 22008 outside the representable range. */
extern Hlc	hlc_from_timestamptz(TimestampTz ts, uint32 counter);
extern TimestampTz hlc_to_timestamptz(Hlc h);

#endif							/* OFFLINE_SYNC_HLC_H */
