# A new device gets all rows of its scopes, page by page, while SQL and other devices
# insert, update, delete and move rows between scopes.  One transaction is open from
# before the first page until after the last one, another one until the second one.  In
# the end the device holds what the server says it should; no page was larger than
# allowed, and none took more memory for there being more rows.
#
# ROWS from the environment; test/bootstrap.sh sets it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes 'time';

use lib "$FindBin::RealBin/../perl";
use SyncDevice;
use SyncSession;

my $rows = $ENV{ROWS} // 20_000;
my $page_changes = $rows >= 500_000 ? 1000 : 200;
my $max_delta_size = 256 * 1024;
my $max_memory = 10 * 1024;    # kB of its own that a backend may have at any time
my $json = JSON::PP->new->canonical;
my $bootstrapped = 'd0000000-0000-4000-8000-000000000001';
srand 1;

my $node = PostgreSQL::Test::Cluster->new('bootstrap');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf',
	"autovacuum = off\nmax_wal_size = 4GB\nlog_statement = none\noffline_sync.max_delta_size = '${max_delta_size}B'\n");
$node->start;

# half of the rows are older than their table's being tracked, one in a hundred is wide
$node->safe_psql('postgres', qq{
	CREATE EXTENSION offline_sync;
	CREATE TABLE item (id bigint PRIMARY KEY, team text NOT NULL, body text, amount int, hits int NOT NULL DEFAULT 0);
	CREATE FUNCTION fill(first bigint, last bigint) RETURNS void LANGUAGE sql AS \$\$
		INSERT INTO item SELECT n, (ARRAY['a', 'b', 'a', 'b', 'a', 'b', 'a', 'b', 'a', 'c'])[n % 10 + 1],
			repeat('row "' || n || E'" \\\\ ', CASE WHEN n / 100 % 100 = 7 THEN 500 ELSE 5 END), n % 1000 FROM generate_series(first, last) n
	\$\$;
	SELECT fill(1, $rows / 2);
	SELECT sync_enable_table('item', 'team', '{"hits": "counter"}');
	SELECT fill($rows / 2 + 1, $rows);
	ANALYZE item;
	SELECT sync_register_device('$bootstrapped', '{a,b}');
	SELECT sync_register_device('d0000000-0000-4000-8000-000000000002', '{a,b,c}');
	SELECT sync_register_device('d0000000-0000-4000-8000-000000000003', '{b,c}');
});
$node->safe_psql('postgres', 'CREATE DATABASE device TEMPLATE template0');

# The new device keeps its rows in a database without the extension.
$node->safe_psql('device', q{
	CREATE TABLE item (id bigint PRIMARY KEY, cells jsonb);
	CREATE FUNCTION take(page jsonb) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		c jsonb;
	BEGIN
		IF page ? 'reset' THEN
			RAISE 'told to start again';
		END IF;
		FOR c IN SELECT * FROM jsonb_array_elements(page -> 'changes') LOOP
			IF c ? 'insert' THEN
				INSERT INTO item VALUES ((c -> 'key' ->> 'id')::bigint, c -> 'insert') ON CONFLICT (id) DO UPDATE SET cells = EXCLUDED.cells;
			ELSIF c ? 'set' THEN
				UPDATE item SET cells = cells || (c -> 'set') WHERE id = (c -> 'key' ->> 'id')::bigint;
				IF NOT FOUND THEN
					RAISE 'told to change a row that is not there: %', c;
				END IF;
			ELSIF c ? 'delete' OR c ? 'retract' AND c ? 'key' THEN
				DELETE FROM item WHERE id = (c -> 'key' ->> 'id')::bigint;
			ELSE
				RAISE 'unexpected: %', c;
			END IF;
		END LOOP;
		RETURN jsonb_array_length(page -> 'changes');
	END $$;
	CREATE FUNCTION digest(team text) RETURNS text LANGUAGE sql AS $$
	WITH hashed AS (
		SELECT encode(sha256(convert_to('{"table":"item","key":{"id":' || id || '},"insert":{' ||
			concat_ws(',', '"amount":' || (cells ->> 'amount'), '"body":' || to_json(cells ->> 'body'), '"hits":' || (cells ->> 'hits'),
					  '"team":' || to_json(cells ->> 'team')) || '}}', 'UTF8')), 'hex') AS hash
		FROM item WHERE cells ->> 'team' = digest.team),
	words AS (
		SELECT i, sum(('x' || substr(hash, 8 * i + 1, 8))::bit(32)::bigint)::bigint AS s FROM hashed, generate_series(0, 3) AS i GROUP BY i)
	SELECT string_agg(lpad(to_hex(s % 4294967296), 8, '0'), '' ORDER BY i) || '|' || (SELECT count(*) FROM hashed) FROM words $$;
});

# ---------------------------------------------------------------------------
# The new device: pulls a page, stores it, pulls the next one
# ---------------------------------------------------------------------------
my $device = SyncDevice->new($bootstrapped);
my $pulling = SyncSession->new($node, 'postgres');
my $storing = SyncSession->new($node, 'device', 'SET synchronous_commit = off');
my $pid = $pulling->ask('SELECT pg_backend_pid()');
my ($pages, $base_pages, $changes, $largest, $largest_page, $peak, $is_done) = (0) x 7;
my $next;    # what its sessions do next

# The most memory of its own, in kB, that the backend has had since the last call;
# undef where the system does not say.
sub peak_memory
{
	my $status = eval { slurp_file("/proc/$pid/status") } or return;
	my %kb = $status =~ /^(\w+):\s+(\d+) kB/mg;
	return unless open my $reset, '>', "/proc/$pid/clear_refs";
	print $reset "5\n";
	close $reset or return;
	return unless defined $kb{VmHWM};
	return $kb{VmHWM} - $kb{RssFile} - $kb{RssShmem};
}

sub pull_page
{
	peak_memory();
	my $sql = $device->pull_sql($page_changes) =~ s/;\s*\z//r;
	$pulling->send("WITH page AS MATERIALIZED (${sql} AS d) SELECT delta_size(d), d FROM page",
		sub {
			my ($answer, $sqlstate) = @_;
			die $answer if defined $sqlstate;
			my ($size, $page) = $answer =~ /\A(\d+)\|(.*)\z/s or die $answer;
			my $memory = peak_memory();
			$peak = $memory if defined $memory && $memory > $peak;
			$largest = $size if $size > $largest;
			my $head = $json->decode($page =~ s/"changes":\[.*\](?=[,}])/"changes":[]/sr);
			$next = sub { store_page($page, $head) };
		});
	return;
}

sub store_page
{
	my ($page, $head) = @_;
	$storing->send("SELECT take('" . $page =~ s/'/''/gr . "')",
		sub {
			my ($answer, $sqlstate) = @_;
			die $answer if defined $sqlstate;
			my $n = $answer;
			$pages++;
			$base_pages++ if !%{ $head->{to} };
			$changes += $n;
			$largest_page = $n if $n > $largest_page;
			@$device{ 'vector', 'resume' } = @$head{ 'to', 'resume' };
			$is_done = !$head->{more};
			$next = \&pull_page;
		});
	return;
}

# ---------------------------------------------------------------------------
# Those who write meanwhile
# ---------------------------------------------------------------------------
my @others = map { SyncDevice->new("d0000000-0000-4000-8000-00000000000$_") } 2, 3;
my $statements = 0;
sub some_id { return 1 + int rand 1.05 * $rows }

sub sql_statement
{
	my $id = some_id();
	my $team = (qw(a b c))[ rand 3 ];
	my $kind = rand;
	return
	    $kind < 0.25 ? "INSERT INTO item SELECT n, '$team', 'new', 1 FROM generate_series($id, $id + 9) n ON CONFLICT DO NOTHING"
	  : $kind < 0.60 ? "UPDATE item SET body = 'changed $id', hits = hits + 1 WHERE id BETWEEN $id AND $id + 19"
	  : $kind < 0.80 ? "UPDATE item SET team = '$team' WHERE id BETWEEN $id AND $id + 9"
	  : $kind < 0.82 ? "UPDATE item SET amount = amount + 1 WHERE id BETWEEN $id AND $id + 2 * $page_changes"
	  :                "DELETE FROM item WHERE id BETWEEN $id AND $id + 4";
}

# What a device does that never pulls: all that it writes is concurrent.
sub device_statement
{
	my ($other) = @_;
	for (@{ $other->{outbox} } ? () : 1 .. 10)
	{
		my $id = some_id();
		my $kind = rand;
		my $team = $other == $others[0] ? (qw(a b c))[ rand 3 ] : (qw(b c))[ rand 2 ];
		$other->write('item', { id => $id },
			$kind < 0.3 ? { insert => { team => $team, body => 'of a device' } }
			: $kind < 0.6 ? { set => { body => "set by a device $id" }, increment => { hits => 1 } }
			: $kind < 0.8 ? { set => { team => $team } }
			: { delete => JSON::PP::true });
	}
	return "SELECT status FROM sync_apply_delta('" . $other->delta . "'::delta)";
}

my @writers = (
	{ statement => \&sql_statement }, { statement => \&sql_statement },
	map { my $other = $_; { other => $other, statement => sub { device_statement($other) } } } @others);
$_->{session} = SyncSession->new($node, 'postgres', q{SET synchronous_commit = off; SET lock_timeout = '20ms'}) for @writers;

# Let all go on until something is so.
sub go_on
{
	my ($is_enough, $writing) = @_;
	while (!$is_enough->())
	{
		if ($next)
		{
			my $step = $next;
			$next = undef;
			$step->();
		}
		for my $writer ($writing ? grep { !$_->{session}->is_busy } @writers : ())
		{
			my $sql = $writer->{statement}->();
			$writer->{session}->send($sql,
				sub {
					my ($answer, $sqlstate) = @_;
					if (defined $sqlstate)
					{
						die "$sql: $answer" unless $sqlstate =~ /^(40...|55P03)$/;
						return;
					}
					$statements++;
					return unless $writer->{other};
					die "$sql: $answer" unless $answer =~ /^(applied|partial)$/;
					$writer->{other}{outbox} = [];
				});
		}
		for my $session (SyncSession::ready(10, $pulling, $storing, map { $_->{session} } @writers))
		{
			$session->receive or die 'a session has ended: ' . $session->{buffer};
		}
	}
	return;
}

# ---------------------------------------------------------------------------
my $begun = time;
my $open = $node->background_psql('postgres');
$open->query_safe(q{BEGIN; UPDATE item SET body = 'by one that commits late' WHERE id % 1000 = 3; DELETE FROM item WHERE id % 1000 = 4;
	UPDATE item SET team = 'a' WHERE id % 1000 = 9});
my $shorter = $node->background_psql('postgres');
$shorter->query_safe(q{BEGIN; UPDATE item SET body = 'by one that commits meanwhile' WHERE id % 1000 = 13; DELETE FROM item WHERE id % 1000 = 14;
	UPDATE item SET team = 'a' WHERE id % 1000 = 19});
# one with a later number commits before the first page
$node->safe_psql('postgres', 'UPDATE item SET hits = hits + 1 WHERE id = 1');
$next = \&pull_page;
go_on(sub { $base_pages >= 1 }, 1);
$shorter->query_safe('COMMIT');
$shorter->quit;
go_on(sub { %{ $device->{vector} } }, 1);
my $seconds = time - $begun;
note sprintf 'all rows after %d s: %d pages; %d statements meanwhile', $seconds, $base_pages, $statements;
cmp_ok($statements, '>', $base_pages / 4, 'others wrote all the time');

# what they wrote, and more; transactions that are larger than a page
my $before = $pages;
go_on(sub { $pages > $before + 10 }, 1);
go_on(sub { !grep { $_->{session}->is_busy } @writers }, 0);
$open->query_safe('COMMIT');
$open->quit;
$node->safe_psql('postgres', 'UPDATE item SET amount = amount + 1 WHERE id % 10 = 5');
$is_done = 0;
go_on(sub { $is_done && $next }, 0);
$is_done = 0;
go_on(sub { $is_done && $next }, 0);

for my $scope (qw(a b))
{
	is($node->safe_psql('device', "SELECT digest('$scope')"),
		$node->safe_psql('postgres', "SELECT digest, row_count FROM sync_digest('$bootstrapped', '$scope')"),
		"scope $scope: the device holds what the server says");
}
is($node->safe_psql('device', q{SELECT count(*) FROM item WHERE cells ->> 'team' NOT IN ('a', 'b')}), 0, 'and nothing else');
for my $when (qw(meanwhile late))
{
	cmp_ok($node->safe_psql('device', "SELECT count(*) FROM item WHERE cells ->> 'body' = 'by one that commits $when'"), '>', 0,
		"what was written before the first page by one that commits $when is there");
}
cmp_ok($largest_page, '<=', $page_changes, 'no page has more changes than were asked for');
cmp_ok($largest, '<=', $max_delta_size, 'none is larger than max_delta_size');
SKIP:
{
	skip 'the system does not tell peaks of memory', 1 unless $peak;
	cmp_ok($peak, '<=', $max_memory, 'none took more memory than is allowed for any number of rows');
}
my $summary = sprintf '%d rows in %d s; %d pages, %d with rows and %d with what changed meanwhile, %d changes; the largest has %d changes and %d bytes; peak of memory %d kB; %d statements of others',
  $rows, time - $begun, $pages, $base_pages, $pages - $base_pages, $changes, $largest_page, $largest, $peak, $statements;
note $summary;
diag $summary if $rows > 100_000;

$_->{session}->finish for @writers;
$pulling->finish;
$storing->finish;
$node->stop;
done_testing();
