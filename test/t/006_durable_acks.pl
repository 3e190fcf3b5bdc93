# What is acknowledged to a device is durable, also where synchronous_commit is off:
# the server is killed right after the answer.  With offline_sync.durable_acks off it
# may be lost, and the device sends it again.

use strict;
use warnings FATAL => 'all';

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use lib "$FindBin::RealBin/../perl";
use SyncCrash;
use SyncDevice;

my @uuid = map { sprintf 'd0000000-0000-4000-8000-%012d', $_ } 0 .. 2;

my $node = PostgreSQL::Test::Cluster->new('acks');
start_crashable($node);
sub sql { return $node->safe_psql('postgres', shift) }
sub acked { return sql("SELECT acked_seq FROM sync_hello('$uuid[1]')") }

sql(q{
	SET synchronous_commit = on;
	CREATE EXTENSION offline_sync;
	CREATE TABLE note (id int PRIMARY KEY, body text);
	INSERT INTO note VALUES (1, 'before');
	SELECT sync_enable_table('note');
});
sql("SET synchronous_commit = on; SELECT sync_register_device('$uuid[$_]')") for 1 .. 2;
my $device = SyncDevice->new($uuid[1]);
$device->pull($node);

# --- durable ---
is(sql(q{LOAD 'offline_sync'; SHOW synchronous_commit; SHOW offline_sync.durable_acks}), "off\non",
	'commits are asynchronous, but not those of pushes');
sql(q{INSERT INTO note VALUES (2, 'by SQL, before')});
$device->write('note', { id => 10 }, { insert => { body => 'pushed' } });
$device->write('note', { id => 1 }, { set => { body => 'pushed' } });
is($device->push($node)->{acked_seq}, 2, 'a push is acknowledged');
sql(q{INSERT INTO note VALUES (3, 'by SQL, after')});
kill_and_restart($node);
is(acked(), 2, 'after a crash it is still acknowledged');
is(sql('SELECT string_agg(id || body, $$,$$ ORDER BY id) FROM note'), '1pushed,2by SQL, before,10pushed',
	'and all of it is there; a commit after it is not, so that it might have been lost');
is($device->pull($node), 1, 'the device goes on');

# several pushes, in one transaction with other things
$device->write('note', { id => 11 }, { insert => { body => 'pushed' } });
my $first = $device->delta($device->{outbox}[0]);
$device->write('note', { id => 12 }, { insert => { body => 'pushed' } });
my $second = $device->delta($device->{outbox}[1]);
sql(q{BEGIN; INSERT INTO note VALUES (4, 'with it');} . $device->push_sql($first) . $device->push_sql($second) . 'COMMIT');
kill_and_restart($node);
is(acked(), 4, 'pushes inside a transaction are durable with it');
is(sql('SELECT count(*) FROM note WHERE id IN (4, 11, 12)'), 3, 'so is the rest of that transaction');
is($device->push($node)->{status}, 'duplicate', 'sent again, they are recognised');
is($device->pull($node), 1, 'and the device goes on');

# --- not durable, as the administrator wants it ---
$node->append_conf('postgresql.conf', "offline_sync.durable_acks = off\n");
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('offline_sync.durable_acks') = 'off'}) or die;
$device->write('note', { id => 13 }, { insert => { body => 'lost at first' } });
is($device->push($node)->{acked_seq}, 5, 'a push is acknowledged');
kill_and_restart($node);
is(acked(), 4, 'after a crash it is not stored, nor acknowledged');
is(sql('SELECT count(*) FROM note WHERE id = 13'), 0, 'nor is its row there');
is($device->pull($node), 0, 'the device does not notice by pulling');
is($device->{resets}, 0, 'it has no reason to start again');
$device->write('note', { id => 14 }, { insert => { body => 'next' } });
my $answer = $device->push($node);
is($answer->{status}, 'gap', 'with the next push it does');
is($answer->{acked_seq}, 4, 'being told what is stored');
is($device->push($node)->{status}, 'applied', 'and sends again from there');
is(acked(), 6, 'which is acknowledged');

my $other = SyncDevice->new($uuid[2]);
$other->pull($node);
$device->pull($node);
is($device->rows('note', 'body'), $other->rows('note', 'body'), 'both devices hold the same');
is($other->rows('note', 'body'), sql(q{SELECT string_agg(line, E'\n' ORDER BY line COLLATE "C") FROM (SELECT id || '|' || body FROM note) x (line)}),
	'and that is what the server has');

$node->stop;
done_testing();
