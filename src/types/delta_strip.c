/*-------------------------------------------------------------------------
 *
 * delta_strip.c
 *	  A pushed delta without the values of some of its changes.
 *
 * Seqs, clocks, tables, keys and groups stay, so that what refers to a change by
 * its seq still finds it.  Checksum and signature are about the values, too, and go.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "types/delta_internal.h"

DeltaData *
delta_strip(const DeltaData *delta, const bool *is_stripped)
{
	DeltaReader reader;
	DeltaHeader header;
	DeltaBuilder builder;
	DeltaChange change;

	memset(&change, 0, sizeof(change));
	delta_reader_init(&reader, delta);
	delta_builder_init(&builder);
	for (int n = 0; delta_reader_next(&reader, &change); n++)
	{
		DeltaChange copy = change;

		if (change.table >= 0)
			copy.table = delta_builder_table(&builder, reader.tables[change.table].data,
											 reader.tables[change.table].len);
		for (int i = 0; i < change.nkeys; i++)
		{
			DeltaName  *name = &reader.columns[change.keys[i].column];

			(void) delta_builder_key(&builder,
									 delta_builder_column(&builder, name->data, name->len),
									 &change.keys[i].value);
		}
		for (int i = 0; !is_stripped[n] && i < change.ncells; i++)
		{
			DeltaName  *name = &reader.columns[change.cells[i].column];

			(void) delta_builder_cell(&builder,
									  delta_builder_column(&builder, name->data, name->len),
									  change.cells[i].op, &change.cells[i].value);
		}
		delta_builder_end(&builder, &copy);
	}
	header = reader.header;
	header.checksum = NULL;
	header.signature = NULL;
	return delta_builder_finish(&builder, &header);
}

bool
delta_same_stripped(const DeltaReader *ra, const DeltaChange *a,
					const DeltaReader *rb, const DeltaChange *b)
{
	DeltaChange left = *a;
	DeltaChange right = *b;

	left.ncells = right.ncells = 0;
	return delta_same_change(ra, &left, rb, &right);
}

DeltaData *
delta_empty(const pg_uuid_t *replica)
{
	DeltaBuilder builder;
	DeltaHeader header;

	memset(&header, 0, sizeof(header));
	header.replica = *replica;
	header.context = vv_empty();
	header.hlc = HLC_MIN;
	delta_builder_init(&builder);
	return delta_builder_finish(&builder, &header);
}
