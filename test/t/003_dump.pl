# A database is dumped and restored into another one: rows, row clocks, devices, log
# and journal survive, renamed and dropped columns included; the copy is a new node,
# and devices carry on there from where they were.

use strict;
use warnings FATAL => 'all';

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use lib "$FindBin::RealBin/../perl";
use SyncDevice;

my @uuid = map { sprintf 'd0000000-0000-4000-8000-%012d', $_ } 0 .. 3;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE old');
sub old { return $node->safe_psql('old', shift) }
sub new { return $node->safe_psql('new', shift) }

# A table that has lived: a column dropped, so that attnums shift in the copy, and
# renames of a column and of the table itself.
old(q{
	CREATE EXTENSION offline_sync;
	CREATE TABLE meeting (id uuid PRIMARY KEY, obsolete text, title text, place text, seats int NOT NULL DEFAULT 0,
						  people orset NOT NULL DEFAULT '{}', team text NOT NULL);
	INSERT INTO meeting SELECT md5(n::text)::uuid, 'x', 'meeting ' || n, 'here', 10, '{}', 'red' FROM generate_series(1, 30) n;
	SELECT sync_enable_table('meeting', 'team', '{"seats": "counter", "place": "first_writer"}');
	SELECT sync_set_policy('meeting', 'place', 'lww');
	SELECT sync_set_policy('meeting', 'title', 'manual', '{"scope": "blue"}');
	SELECT sync_set_policy('meeting', 'title', 'max', '{"shadow": true}');
	CREATE SCHEMA "Handlers";
	CREATE FUNCTION "Handlers".close(args jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		UPDATE public.gathering SET seats = 0 WHERE id = (args->>'id')::uuid;
		RETURN to_jsonb('closed'::text);
	END $$;
	SELECT sync_register_intent('close', '"Handlers".close(jsonb, jsonb)');
});
old("SELECT sync_register_device('$uuid[$_]', '{red}')") for 1 .. 3;
my $id = old('SELECT md5($$1$$)');
$id =~ s/(.{8})(.{4})(.{4})(.{4})(.*)/$1-$2-$3-$4-$5/;

my $device = SyncDevice->new($uuid[1], 'old');
$device->pull($node);
is($device->count('meeting'), 30, 'a device has the rows');
$device->write('meeting', { id => $id },
	{ set => { place => 'there' }, increment => { seats => -2 }, add => { people => ['ann'] } });
is($device->push($node)->{status}, 'applied', 'and has pushed a change');
old(q{
	UPDATE meeting SET title = 'by SQL' WHERE id = md5('2')::uuid;
	DELETE FROM meeting WHERE id = md5('3')::uuid;
	ALTER TABLE meeting DROP COLUMN obsolete;
	ALTER TABLE meeting RENAME COLUMN place TO room;
	ALTER TABLE meeting RENAME TO gathering;
});
$device->pull($node);
is($device->count('meeting'), 29, 'it has pulled');
# the application on the device follows the renaming
$_->{room} = delete $_->{place} for values %{ $device->{rows}{meeting} };
my $behind = SyncDevice->new($uuid[2], 'old');
$behind->pull($node);
old(q{UPDATE gathering SET room = 'cellar' WHERE id = md5('4')::uuid});

# --- dump and restore ---
my $dump = $node->basedir . '/old.dump';
$node->safe_psql('postgres', 'CREATE DATABASE new TEMPLATE template0');
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('old') ], 'pg_dump');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('new'), $dump ], 'pg_restore');

my $content = 'SELECT md5(string_agg(t::text, E\'\n\' ORDER BY id)) FROM gathering t';
is(new($content), old($content), 'rows with their row clocks');
# tracked_column says where its columns are in this very database: leave that out
for my $table (qw(device device_scope intent tracked_table column_policy column_history column_conversion change_log tombstone journal conflict node),
	'(SELECT table_id, column_id, column_name, type_name, key_position, policy, options, is_dropped FROM offline_sync.tracked_column)')
{
	my $q = "SELECT md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM " . ($table =~ /^\(/ ? $table : "offline_sync.$table") . ' t';
	is(new($q), old($q), "state: " . ($table =~ /(tracked_column)/ ? $1 : $table));
}
isnt(new('SELECT sync_node()'), old('SELECT sync_node()'), 'the copy is another node');
is( new("SELECT string_agg(column_name, ',' ORDER BY column_name) FROM gathering, row_clock_entries('gathering', _sync) WHERE id = '$id'"),
	old("SELECT string_agg(column_name, ',' ORDER BY column_name) FROM gathering, row_clock_entries('gathering', _sync) WHERE id = '$id'"),
	'row clocks name the same columns');

my $policies = "SELECT string_agg(concat_ws(' ', column_name, scope, policy, state), ', ' ORDER BY column_name, step) FROM sync_policies";
is(new($policies), 'room first_writer replaced, room lww active, seats counter active, title blue manual trial, title max shadow',
	'policies and their history');
new(q{SELECT sync_revert_policy('gathering', 'title'); SELECT sync_revert_policy('gathering', 'title')});
like(new($policies), qr/title blue manual reverted, title max reverted/, 'and the way back');

# --- devices carry on ---
$_->{dbname} = 'new' for $device, $behind;
is($behind->pull($node), 1, 'a device gets what it had not pulled before the dump');
is($device->pull($node), 1, 'the other one too');
is($device->{resets} + $behind->{resets}, 0, 'nobody starts again');

my $again = SyncDevice->new($uuid[1], 'new');
%$again = (%$again, %$device, outbox => [ $device->{sent}[0] ]);
is($again->push($node)->{status}, 'duplicate', 'a push that was stored before the dump is recognised');

$device->write('meeting', { id => $id }, { set => { room => 'attic' }, increment => { seats => -1 } });
$behind->write('meeting', { id => $id }, { set => { title => 'renamed' }, add => { people => ['ben'] }, remove => { people => ['ann'] } });
is($device->push($node)->{status}, 'applied', 'a device pushes to the copy');
is($behind->push($node)->{status}, 'applied', 'another one too');
new(q{UPDATE gathering SET seats = seats + 5 WHERE id = md5('1')::uuid});
is(new("SELECT title, room, seats, people::text[] FROM gathering WHERE id = '$id'"),
	'renamed|attic|12|{ben}', 'what they wrote is merged with what was there');
$_->pull($node) for $device, $behind;
my @columns = qw(title room seats team);
is($device->rows('meeting', @columns), $behind->rows('meeting', @columns), 'both devices hold the same');
my $fresh = SyncDevice->new($uuid[3], 'new');
$fresh->pull($node);
is($device->rows('meeting', @columns), $fresh->rows('meeting', @columns), 'and so does a new one');
is($fresh->count('meeting'), 29, 'what was deleted before the dump stays deleted');

# Versions of the schema go on, and one that speaks the first is still understood.
is(new('SELECT schema_version FROM sync_hello($$' . $uuid[3] . '$$)'), 3, 'the copy is of the same version');
my $sixth = new(q{SELECT md5('6')::uuid});
is( new(qq{SELECT status, outcomes->0->'ignored' FROM sync_apply_delta(('{"format": 1, "replica": "$uuid[3]", "schema_version": 1,
		"context": ' || (SELECT delta_to(sync_changes_since('$uuid[3]', '{}'))::text) || ', "changes": [{"seq": 1, "hlc": "2026-01-01T00:00:00.000Z/0",
		"table": "meeting", "key": {"id": "$sixth"}, "set": {"place": "den", "obsolete": "x"}}]}')::delta)}),
	'applied|["obsolete"]', 'a device of the first version pushes');
is(new("SELECT room FROM gathering WHERE id = '$sixth'"), 'den', 'to a column by its old name');

# An intent finds its handler by name.
$device->write('', {}, { intent => 'close', args => { id => $id } });
delete @{ $device->{outbox}[0] }{qw(table key)};
is($device->push($node)->{outcomes}[0]{result}, 'closed', 'an intent is handled in the copy');
is($device->{rows}{meeting}{qq({"id":"$id"})}{seats}, 0, 'its answer tells what it did');
$device->pull($node);

# The old database goes on undisturbed, and a device of the copy is not fooled by it.
old(q{UPDATE gathering SET title = 'only in the old one' WHERE id = md5('5')::uuid});
is($device->pull($node), 0, 'the two databases have parted');

$node->stop;
done_testing();
