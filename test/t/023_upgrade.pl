# pg_upgrade, and what else happens to a database as a whole.  Upgraded, it is a new
# node with all it had, and devices carry on: who had everything is told nothing, who
# lacked something just that.  Renamed or moved to another tablespace it stays the
# node that it was; copied, both live on as two.

use strict;
use warnings FATAL => 'all';

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use lib "$FindBin::RealBin/../perl";
use SyncDevice;

my @names = qw(current behind beginning waiting ahead fresh fresh2);
my %uuid = map { $names[$_] => sprintf 'd0000000-0000-4000-8000-%012d', $_ + 1 } 0 .. $#names;
my %device = map { $_ => SyncDevice->new($uuid{$_}, 'app') } @names;

my @initdb = (extra => [ '--encoding=UTF8', '--locale=C' ]);
my $old = PostgreSQL::Test::Cluster->new('old');
$old->init(@initdb);
$old->append_conf('postgresql.conf', "autovacuum = off\nlog_statement = none\nfsync = off\n");
$old->start;
$old->safe_psql('postgres', 'CREATE DATABASE app');
my $server = $old;
my $dbname = 'app';
sub sql { return $server->safe_psql($dbname, shift) }

sub digests_agree
{
	my ($name, $what) = @_;
	return is($device{$name}->digest, sql("SELECT digest, row_count FROM sync_digest('$uuid{$name}', '')"), $what);
}

# --- a database that has lived ---
# a column was dropped, so that the numbers of the others have a gap
sql(q{
	CREATE EXTENSION offline_sync;
	CREATE TABLE meeting (id int PRIMARY KEY, obsolete text, title text, seats int NOT NULL DEFAULT 0, people orset NOT NULL DEFAULT '{}');
	ALTER TABLE meeting DROP COLUMN obsolete;
	CREATE TABLE guest (id int PRIMARY KEY, meeting int NOT NULL REFERENCES meeting, name text);
	INSERT INTO meeting SELECT n, 'meeting ' || n, 10 FROM generate_series(1, 30) n;
	SELECT sync_enable_table('meeting', NULL, '{"seats": "counter"}');
	SELECT sync_enable_table('guest');
	SELECT sync_set_policy('meeting', 'title', 'max', '{"shadow": true}');
	SELECT sync_mask_columns('guest', '{name}', class => 'kiosk');
});
sql("SELECT sync_register_device('$uuid{$_}', label => '$_')") for @names;
$device{$_}->pull($old) for grep { !/beginning|fresh/ } @names;
sql(q{UPDATE meeting SET title = 'by SQL' WHERE id = 1; DELETE FROM meeting WHERE id = 2; UPDATE meeting SET people = '{"ann"}' WHERE id = 3});
$device{current}->write('meeting', { id => 4 }, { set => { title => 'pushed' }, increment => { seats => -1 }, add => { people => ['ben'] } });
my $pushed = $device{current}->delta;
is($device{current}->push($old)->{status}, 'applied', 'a device pushes');
$device{$_}->pull($old) for qw(current ahead waiting);
# one has a change that waits, one is in the midst of its first pull, one has submitted
$device{waiting}->write('guest', { id => 1 }, { insert => { meeting => 777, name => 'Early' } });
is($device{waiting}->push($old)->{status}, 'partial', 'a change waits for its parent');
my $page = $device{beginning}->take_page(sql($device{beginning}->pull_sql(7)));
ok($page->{more} && defined $page->{resume}, 'a device is in the midst of its first pull');
$device{current}->write('meeting', { id => 5 }, { set => { title => 'submitted' } });
my $submission = sql("SELECT sync_submit_delta('" . $device{current}->delta . "')");
sql(q{SELECT sync_ack('} . $uuid{behind} . q{', '} . JSON::PP->new->encode($device{behind}{vector}) . q{')});

my @state = split / /, sql(q{SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'offline_sync'::regnamespace AND relkind = 'r'});
my @state_tables = ('meeting', 'guest', map { "offline_sync.$_" } @state);
sub state_of { return split /\n/, sql(join ' UNION ALL ', map { "SELECT '$_ ' || coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text)), 'empty') FROM $_ t" } @state_tables) }
my @state_before = state_of();
my $node_before = sql('SELECT sync_node()');
my $xid_before = sql('SELECT pg_current_xact_id()');

# --- pg_upgrade ---
$old->stop;
my $new = PostgreSQL::Test::Cluster->new('new');
$new->init(@initdb);
$new->append_conf('postgresql.conf', "autovacuum = off\nlog_statement = none\nfsync = off\n");
my $bindir = $old->config_data('--bindir');
chdir $PostgreSQL::Test::Utils::tmp_check or die;
command_ok(
	[
		'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $bindir, '-B', $bindir,
		'-s', $new->host, '-p', $old->port, '-P', $new->port
	],
	'pg_upgrade');
$server = $new;
$new->start;

my @state_after = state_of();
is("@state_after", "@state_before", 'upgraded, it has all that it had');
my $node_after = sql('SELECT sync_node()');
isnt($node_after, $node_before, 'and is another node');
cmp_ok(sql('SELECT pg_current_xact_id()'), '>', $xid_before, 'whose transactions go on from those of the old one');

# --- devices carry on ---
is($device{current}->pull($new), 0, 'a device that had everything is told nothing');
is($device{behind}->pull($new), 4, 'one that lacked something just that');
is($device{beginning}->pull($new, 7), 29 - 7, 'a first pull goes on where it was');
digests_agree($_, "the device $_ has everything") for qw(behind beginning);
is(sql("SELECT status FROM sync_apply_delta('$pushed')"), 'duplicate', 'what was pushed before is recognised');
is(sql('SELECT processed, failed FROM sync_process_queue()'), '1|0', 'what was submitted is processed');
my $answer = $device{current}->take_answer(
	sql("SELECT to_jsonb(a) || jsonb_build_object('corrections', a.corrections::text::jsonb) FROM sync_submission('$submission') a"));
is("$answer->{status} $answer->{acked_seq}", 'applied 2', 'and its answer is there');
sql(q{INSERT INTO meeting (id, title) VALUES (777, 'the parent')});
is(sql('SELECT meeting, name FROM guest'), '777|Early', 'what waited finds its parent');
is(sql("SELECT node FROM offline_sync.node WHERE final_xid IS NULL"), $node_after, 'its first write registers the new node');
is(sql("SELECT final_xid < began_xid FROM (SELECT final_xid, lead(began_xid) OVER (ORDER BY id) AS began_xid FROM offline_sync.node) n WHERE final_xid IS NOT NULL"),
	't', 'after the end of the old one');

# seen and not seen, of the old node and of the new one
sql(q{UPDATE meeting SET title = 'by SQL, after' WHERE id = 6});
$device{behind}->write('meeting', { id => 6 }, { set => { title => 'concurrent' } });
$device{behind}->write('meeting', { id => 1 }, { set => { title => 'over what it has seen' } });
$device{ahead}->write('meeting', { id => 2 }, { set => { title => 'of a deleted row' } });
is($device{behind}->push($new)->{conflicts}, 1, 'a write over one of the old node that was seen is no conflict, over one of the new node that was not it is');
is($device{ahead}->push($new)->{outcomes}[0]{reason}, 'no_row', 'what was deleted stays deleted');
$device{fresh}->pull($new, 11);
for (qw(current behind beginning waiting fresh))
{
	$device{$_}->pull($new);
	digests_agree($_, "the device $_ ends equal");
	is($device{$_}->pull($new), 0, 'and is told nothing twice');
	is($device{$_}{resets}, 0, 'it did not start again');
}
sql('ALTER TABLE meeting ADD place text DEFAULT $$here$$');
is($device{fresh}->pull($new), 30, 'columns that are added are noticed');
sql(sprintf "SELECT sync_ack('%s', '%s')", $_->{uuid}, JSON::PP->new->encode($_->{vector})) for values %device;
is(sql(q{SELECT removed > 0 FROM sync_maintenance(100000) WHERE task = 'change_log'}), 't', 'what all have acknowledged can be cleaned up');
is($device{current}->pull($new), 30, 'and the others go on');
is($device{current}{resets}, 0, 'without a fresh start');

# the old cluster, started again, is a future that the new one does not have
$old->start;
$server = $old;
is(sql('SELECT sync_node()'), $node_before, 'the old cluster is still the old node');
sql(q{UPDATE meeting SET title = 'only in the old cluster' WHERE id = 7});
$device{ahead}->pull($old);
$old->stop;
$server = $new;
$device{ahead}->pull($new);
is($device{ahead}{resets}, 1, 'a device that has been there starts again');
digests_agree('ahead', 'and ends equal');

# --- renamed ---
$new->safe_psql('postgres', 'ALTER DATABASE app RENAME TO renamed');
$_->{dbname} = 'renamed' for values %device;
$dbname = 'renamed';
is(sql('SELECT sync_node()'), $node_after, 'a renamed database is the same node');
sql(q{UPDATE meeting SET title = 'renamed' WHERE id = 8});
$device{current}->write('meeting', { id => 9 }, { set => { title => 'to the renamed one' } });
is($device{current}->push($new)->{status}, 'applied', 'devices push');
is($device{current}->pull($new), 1, 'and pull');
is($device{behind}->pull($new), 30, 'what is new');

# --- moved ---
my $tablespace = PostgreSQL::Test::Utils::tempdir();
$new->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '$tablespace'");
$new->safe_psql('postgres', 'ALTER DATABASE renamed SET TABLESPACE elsewhere');
is(sql('SELECT sync_node()'), $node_after, 'moved to another tablespace it is, too');
is($device{current}->pull($new), 0, 'devices have nothing to pull');
sql('ALTER TABLE meeting SET TABLESPACE pg_default');
is($device{current}->pull($new), 0, 'nor after a table was moved');
$device{current}->write('meeting', { id => 10 }, { set => { title => 'after the moves' } });
is($device{current}->push($new)->{status}, 'applied', 'and push');
is($device{behind}->pull($new), 1, 'to each other');

# --- copied, in both ways that there are ---
for my $strategy (qw(file_copy wal_log))
{
	$new->safe_psql('postgres', "CREATE DATABASE copy_$strategy TEMPLATE renamed STRATEGY $strategy");
	my $node_of_copy = $new->safe_psql("copy_$strategy", 'SELECT sync_node()');
	isnt($node_of_copy, $node_after, "$strategy: a copy is another node");
	is(sql('SELECT sync_node()'), $node_after, "$strategy: the original is not");
	my $there = SyncDevice->new($uuid{fresh2}, "copy_$strategy");
	$there->pull($new);
	# both live on, and write under the same numbers
	$new->safe_psql("copy_$strategy", "UPDATE meeting SET title = 'in the copy, $strategy' WHERE id = 11");
	sql("UPDATE meeting SET title = 'in the original, $strategy' WHERE id = 11");
	$there->pull($new);
	is($there->digest, $new->safe_psql("copy_$strategy", "SELECT digest, row_count FROM sync_digest('$uuid{fresh2}', '')"),
		"$strategy: a device of the copy has what is there");
	is($device{current}->pull($new), 1, "$strategy: one of the original goes on");
	digests_agree('current', "$strategy: with what is there");
	is($new->safe_psql("copy_$strategy", q{SELECT e.node = sync_node() FROM meeting, row_clock_entries('meeting', _sync) e WHERE id = 11 AND column_name = 'title'}),
		't', "$strategy: what the copy writes is its own");
	# a device of the original that is led to the copy by mistake
	my $astray = bless JSON::PP->new->decode(JSON::PP->new->encode({ %{ $device{current} } })), 'SyncDevice';
	$astray->{dbname} = "copy_$strategy";
	$astray->pull($new);
	is($astray->rows('meeting', 'title', 'seats'), $there->rows('meeting', 'title', 'seats'), "$strategy: a device of the original gets there what is there");
	is($astray->{resets}, 1, "$strategy: by starting again");
}
is($device{current}{resets}, 0, 'the device that was here throughout never started again');

$new->stop;
done_testing();
